"""Faults of every kind, seeded in every part of `benchmarks.gpu`: the table lists these alone.

`first-contact` has tests of its own: tests/simulator/test_first_contact.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import stand_in
from benchmarks.gpu.alone import distinct_ops
from benchmarks.gpu.commands import PARTS
from benchmarks.gpu.sources import of_step
from minidl.cards import DEFAULT
from minidl.devices.kernels import unit_of
from minidl.ir import Op
from minidl.ops.cuda import launches_of
from tests.simulator import tiny_stand_in
from tests.simulator.build import COMPILER
from tests.simulator.gpu_parts import Found, InProcess, images, in_process, started, tool

__all__ = ["in_process"]
pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

RESULTS = {"wrong": "wrong", "raises": "failed", "hangs": "hung", "dies": "died"}
"""What each kind of fault is in a table."""
SILENCE = 12
"""Seconds after which a case hangs: many times what one takes that does not."""
TOOLED = (
    "(compute-sanitizer|memcheck (batchnorm2d-batchnorm|linear-small|loss-entropy|lrn-lrn"
    "|pool2d-max-2) float32)$"
)
TINY, WHOLE = "tests.simulator.tiny_stand_in", "tests.simulator.faulty_stand_in"


@dataclass(frozen=True)
class Seeded:
    """A run of a part: the cases that have a fault, by its kind, among those that run."""

    part: str
    phase: str
    only: str
    machine: str
    wrong: str = ""
    raises: str = ""
    hangs: str = ""
    dies: str = ""

    @property
    def struck(self) -> set[str]:
        return {self.wrong, self.raises, self.hangs, self.dies}

    @property
    def lines(self) -> dict[str, str]:
        """By kind, what the table has to list."""
        cases = {kind: getattr(self, kind) for kind in RESULTS}
        return {
            kind: f"{self.phase}: {case}: {RESULTS[kind]}" for kind, case in cases.items() if case
        }


SEEDED = (
    Seeded(
        *("train", "steps", "float32 step", TINY),
        wrong="wrong b2 float32 step",
        raises="raises b2 float32 step",
        hangs="hangs b2 float32 step",
        dies="dies b2 float32 step",
    ),
    Seeded(
        *("kernels", "ops", "float32 .*conv2d_forward.* float64", TINY),
        wrong="wrong b2 float32 0.conv2d_forward 2x2x2x4 float64",
        raises="raises b2 float32 0.conv2d_forward 2x2x2x6 float64",
        hangs="hangs b2 float32 0.conv2d_forward 2x2x2x4 float64",
        dies="dies b2 float32 0.conv2d_forward 2x2x2x6 float64",
    ),
    Seeded(
        *("memory", "memory", "float32 arena", TINY),
        wrong="wrong b2 float32 arena",  # a number of bytes
        raises="raises b2 float32 arena",
        hangs="hangs b2 float32 arena",
        dies="dies b2 float32 arena",
    ),
    Seeded(
        *("tune", "tune", "simt (m8|m128) ", TINY),
        wrong="simt m8 n4 k4 g1",
        raises="simt m8 n6 k4 g1",
        hangs="simt m8 n4 k6 g1",
        dies="simt m8 n6 k6 g1",
    ),
    Seeded(
        *("sanitizer", "sanitizer", TOOLED, WHOLE),
        wrong="memcheck pool2d-max-2 float32",  # what the tool finds
        raises="memcheck loss-entropy float32",
        hangs="memcheck batchnorm2d-batchnorm float32",
        dies="memcheck lrn-lrn float32",
    ),
    # a run has two cases that launch kernels, so that it takes two to meet all kinds
    Seeded(
        *("cifar10", "cifar10", "", WHOLE),
        wrong="arena as naive",
        dies="training",
    ),
    Seeded(
        *("cifar10", "cifar10", "", WHOLE),
        raises="arena as naive",
        hangs="training",
    ),
)


def test_every_part_meets_every_kind() -> None:
    met = {(run.part, kind) for run in SEEDED for kind in run.lines}
    assert met == {(part, kind) for part in PARTS if part != "first-contact" for kind in RESULTS}


@pytest.mark.slow
def test_each_part_lists_the_faults_that_are_seeded_and_no_other(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", tool(tmp_path / "bin"))
    data = images(tmp_path)
    clean = []
    for run in SEEDED:  # which compiles the kernels too, so that nothing is silent for long later
        clean.append(in_process(run.part, run.phase, run.only, machine=run.machine, data=data))
        assert clean[-1].listed("FAULTS") + clean[-1].listed("LEFT OUT") == [], run.part

    def with_faults(number: int) -> Found:
        run, out = SEEDED[number], tmp_path / str(number)
        only = f"^environment |^{run.phase} .*({run.only})"
        how: dict[str, Any] = {"machine": run.machine, "silence": SILENCE}
        return started(run.part, out, only, "--data", data, faults=faults(run), **how)

    with ThreadPoolExecutor(len(SEEDED)) as side_by_side:  # those that hang wait together
        found = list(side_by_side.map(with_faults, range(len(SEEDED))))
    for run, its, without in zip(SEEDED, found, clean, strict=True):
        assert sorted(its.listed("FAULTS")) == sorted(run.lines.values())
        assert its.listed("LEFT OUT") == []
        assert its.status == 1
        assert passed(its, run) == passed(without, run) - run.struck


def passed(found: Found, run: Seeded) -> set[str]:
    """Cases, without the epochs that one of them consists of."""
    rows = [row for row in found.rows if row["phase"] == run.phase and "epoch" not in row]
    return {row["case"] for row in rows if row.get("result") == "passed"}


def faults(run: Seeded) -> dict[str, list[str]]:
    """What strikes the cases of a run, as faulty_stand_in takes it."""
    if run.part == "sanitizer":
        return {
            "die": ["maxpool2d_forward"],  # where it may not write: the tool says so
            "raise": ["softmax_cross_entropy_dgrad"],
            "hang": ["batchnorm2d_wgrad"],
            "kill": ["lrn_forward"],
        }
    if run.part == "cifar10":
        ops = list(of_step(stand_in.TRAINING, "bf16", DEFAULT, "naive").ops())
        comparing = entries(ops, "relu_forward")  # which `arena` has fused
        training = entries(ops, "batchnorm2d_inference")
        if run.wrong:
            return {"skip": comparing, "die": training}
        return {"raise": comparing, "hang": training}
    wrong, raises, hangs, dies, _ = (
        entries(distinct_ops(case, "float32", DEFAULT, 0), "conv2d_forward")
        for case in tiny_stand_in.CASES
    )
    return {"skip": wrong, "leak": wrong, "raise": raises, "hang": hangs, "die": dies}


def entries(ops: Iterable[Op], function: str) -> list[str]:
    of = (op for op in ops if op.function.__name__ == function)
    return sorted({unit_of(launch).entry for op in of for launch in launches_of(op)})
