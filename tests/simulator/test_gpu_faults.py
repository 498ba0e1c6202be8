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
from benchmarks.gpu.network import Case
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

RESULTS = {
    "wrong": "wrong",
    "raises": "failed",
    "hangs": "hung",
    "dies": "died",
    "sticks": "sticky",
}
"""What each kind of fault is in a table."""
SILENCE = 12
"""Seconds after which a case hangs: many times what one takes that does not."""
TOOLED = (
    "(compute-sanitizer|memcheck (batchnorm2d-batchnorm|linear-small|loss-entropy|lrn-lrn"
    "|pool2d-max-2) float32)$"
)
TINY, WHOLE = "tests.simulator.tiny_stand_in", "tests.simulator.faulty_stand_in"
VGG = "vgg_shaped b3 float32"


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
    sticks: str = ""
    said: tuple[str, ...] = ()
    """What the table says of them."""

    @property
    def struck(self) -> set[str]:
        return {getattr(self, kind) for kind in RESULTS}

    @property
    def lines(self) -> dict[str, str]:
        """By kind, what the table has to list."""
        cases = {kind: getattr(self, kind) for kind in RESULTS}
        return {
            kind: f"{self.phase}: {case}: {RESULTS[kind]}" for kind, case in cases.items() if case
        }

    @property
    def pattern(self) -> str:
        return f"^{self.phase} .*({self.only})"


SEEDED: tuple[tuple[Seeded, ...], ...] = (
    (
        Seeded(
            *("train", "steps", "float32 step", TINY),
            wrong="wrong b2 float32 step",
            raises="raises b2 float32 step",
            hangs="hangs b2 float32 step",
            dies="dies b2 float32 step",
            sticks="sticks b2 float32 step",
            said=("the loss does not fall",),
        ),
    ),
    (
        Seeded(
            *("kernels", "ops", "float32 .*conv2d_forward.* float64", TINY),
            wrong="wrong b2 float32 0.conv2d_forward 2x2x2x4 float64",
            raises="raises b2 float32 0.conv2d_forward 2x2x2x6 float64",
            hangs="hangs b2 float32 0.conv2d_forward 2x2x2x4 float64",
            dies="dies b2 float32 0.conv2d_forward 2x2x2x6 float64",
            sticks="sticks b2 float32 0.conv2d_forward 2x2x2x6 float64",
        ),
    ),
    (
        Seeded(
            *("memory", "memory", "float32 arena", TINY),
            wrong="wrong b2 float32 arena",  # a number of bytes
            raises="raises b2 float32 arena",
            hangs="hangs b2 float32 arena",
            dies="dies b2 float32 arena",
            sticks="sticks b2 float32 arena",
            said=("bytes were taken during steps",),
        ),
    ),
    (
        Seeded(
            *("tune", "tune", "simt (m8|m128) ", TINY),
            wrong="simt m8 n4 k4 g1",
            raises="simt m8 n6 k4 g1",
            hangs="simt m8 n4 k6 g1",
            dies="simt m8 n6 k6 g1",
            sticks="simt m128 n6 k3 g1",
        ),
    ),
    (
        Seeded(
            *("sanitizer", "sanitizer", TOOLED, WHOLE),
            wrong="memcheck pool2d-max-2 float32",  # what the tool finds
            raises="memcheck loss-entropy float32",
            hangs="memcheck batchnorm2d-batchnorm float32",
            dies="memcheck lrn-lrn float32",
            said=("Invalid __global__ write",),
        ),
    ),
    # a run of cifar10 has two cases that launch kernels, so that it takes two to meet all kinds
    (
        Seeded(
            *("cifar10", "cifar10", "", WHOLE),
            wrong="arena as naive",
            raises="training",
            said=("NotFiniteError",),
        ),
    ),
    (
        Seeded(
            *("cifar10", "cifar10", "", WHOLE),
            dies="arena as naive",
            hangs="training",
        ),
    ),
    # two parts of one command, and faults of what stands beside: PyTorch's
    (
        Seeded(
            *("train", "steps", VGG, WHOLE),
            wrong=f"{VGG} step",  # in `arena` alone
            raises=f"{VGG} beside eager",
            hangs=f"{VGG} beside compiled",
            said=("of naive",),
        ),
        Seeded(
            *("memory", "memory", VGG, WHOLE),
            raises=f"{VGG} peak of PyTorch",
            dies=f"{VGG} largest batch of PyTorch",
        ),
    ),
)


def test_every_part_meets_every_kind() -> None:
    """A sticky fault needs a context that outlives a case: the tool's and a training's do not."""
    met = {(run.part, kind) for runs in SEEDED for run in runs for kind in run.lines}
    alone = {("sanitizer", "sticks"), ("cifar10", "sticks")}
    parts = [part for part in PARTS if part != "first-contact"]
    assert met == {(part, kind) for part in parts for kind in RESULTS} - alone


@pytest.mark.slow
def test_each_part_lists_the_faults_that_are_seeded_and_no_other(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", tool(tmp_path / "bin"))
    data = images(tmp_path)

    def without(run: Seeded) -> Found:
        """Which compiles the kernels too, so that nothing is silent for long later."""
        found = in_process(run.part, run.phase, run.pattern, machine=run.machine, data=data)
        assert found.listed("FAULTS") + found.listed("LEFT OUT") == [], run.part
        return found

    def with_faults(number: int) -> Found:
        runs, out = SEEDED[number], tmp_path / str(number)
        only = "|".join(("^environment ", *(run.pattern for run in runs)))
        struck = {kind: names for run in runs for kind, names in faults(run).items()}
        how: dict[str, Any] = {"machine": runs[0].machine, "silence": SILENCE}
        parts = " ".join(run.part for run in runs)
        return started(parts, out, only, "--data", data, faults=struck, **how)

    clean = {run: without(run) for runs in SEEDED for run in runs}
    with ThreadPoolExecutor(len(SEEDED)) as side_by_side:  # those that hang wait together
        found = list(side_by_side.map(with_faults, range(len(SEEDED))))
    for runs, its in zip(SEEDED, found, strict=True):
        lines = [line for run in runs for line in run.lines.values()]
        assert sorted(its.listed("FAULTS")) == sorted(lines)
        assert its.listed("LEFT OUT") == []
        assert its.status == 1
        for run in runs:
            assert passed(its, run) == passed(clean[run], run) - run.struck
            assert [words for words in run.said if words not in its.table] == []


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
        return faults_of_training(run)
    if run.machine == WHOLE:
        if run.part == "memory":
            return {"engine raises": ["eager step"], "engine dies": ["eager fits"]}
        skipped = {"skip": only_in_arena(stand_in.CASES[0], "float32", "keep_positive")}
        return skipped | {"engine raises": ["eager step"], "engine hangs": ["compiled step"]}
    wrong, raises, hangs, dies, sticks, _ = (
        entries(distinct_ops(case, "float32", DEFAULT, 0), "conv2d_forward")
        for case in tiny_stand_in.CASES
    )
    struck = {"skip": wrong, "leak": wrong, "raise": raises, "hang": hangs, "die": dies}
    return struck | {"sticky": sticks}


def faults_of_training(run: Seeded) -> dict[str, list[str]]:
    if run.wrong:  # and what is left where nothing was written is no number
        return {"skip": only_in_arena(stand_in.TRAINING, "bf16", "maxpool2d_forward")}
    ops = list(of_step(stand_in.TRAINING, "bf16", DEFAULT, "naive").ops())
    comparing = entries(ops, "relu_forward")  # which `arena` has fused
    return {"die": comparing, "hang": entries(ops, "batchnorm2d_inference")}


def only_in_arena(case: Case, precision: str, kernel: str) -> list[str]:
    """Entries of a kernel that `naive` has not."""
    arena, naive = (
        {unit.entry for unit in of_step(case, precision, DEFAULT, memory).units()}
        for memory in ("arena", "naive")
    )
    return sorted(entry for entry in arena - naive if entry.startswith(f"{kernel}_"))


def entries(ops: Iterable[Op], function: str) -> list[str]:
    of = (op for op in ops if op.function.__name__ == function)
    return sorted({unit_of(launch).entry for op in of for launch in launches_of(op)})
