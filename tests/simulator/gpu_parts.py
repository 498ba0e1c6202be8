"""Run the parts of `benchmarks.gpu` on the stand-in: as the command does, or a phase in-process."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu.commands import PARTS
from benchmarks.gpu.rows import ROWS, Row, Tail
from benchmarks.gpu.worker import Settings, Worker
from minidl.checkout import kernels_folder
from tests.simulator import fake_cupy

ROOT = Path(__file__).parents[2]
FAULTY = "tests.simulator.faulty_stand_in"
TOOL = """#!/bin/sh
[ "$1" = --version ] && { echo "Version 1"; exit 0; }
[ "$2" = memcheck ] && [ "$3 $4" != "--report-api-errors no" ] && exit 3
while [ "${1#-}" != "$1" ]; do case $1 in --report-api-errors|--tool) shift ;; esac; shift; done
echo "========= COMPUTE-SANITIZER"
"$@"
case $? in
    0) ;;
    137) exit 137 ;;
    *) echo "========= Invalid __global__ write of size 4 bytes"; exit 9 ;;
esac
echo "========= ERROR SUMMARY: 0 errors"
"""


@dataclass(frozen=True)
class Found:
    """What a run has said."""

    status: int
    table: str
    rows: list[Row] = field(repr=False)

    def listed(self, title: str) -> list[str]:
        """`phase: case: result` of each line below a heading, of every part that ran."""
        found: list[str] = []
        for match in re.finditer(rf"\n{title} (\d+)\n", self.table):
            below = self.table[match.end() :].splitlines()
            lines = [line for line in below[: int(match[1])] if line.startswith("  ")]
            found += [": ".join(line.strip().split(": ")[:3]) for line in lines]
        return [re.sub(r"_[0-9a-f]{16}:", ":", line) for line in found]


def started(
    parts: str,
    out: Path,
    only: str,
    *options: str,
    seconds: float = 300,
    workers: int = 1,
    faults: dict[str, list[str]] | None = None,
    silence: float = 30,
    machine: str = FAULTY,
    **environment: str,
) -> Found:
    """`python -m benchmarks.gpu PARTS` on the stand-in with faults."""
    command = [sys.executable, "-m", "benchmarks.gpu", *parts.split(), "--stand-in", machine]
    command += ["--out", str(out), "--seconds", str(seconds), "--only", only, *options]
    command += ["--workers", str(workers), "--silence", str(silence)]
    environment["MINIDL_FAULTS"] = json.dumps(faults or {})
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.stdout, done.stderr
    return Found(done.returncode, done.stdout, Tail(out / ROWS).new())


def mutated(folder: Path, changes: dict[str, list[tuple[str, str]]]) -> str:
    """A copy of the kernels with changes in some files, each made once."""
    shutil.copytree(kernels_folder(), folder)
    for name, pairs in changes.items():
        path = folder / name
        source = path.read_text()
        for old, new in pairs:
            assert old in source, (name, old)
            source = source.replace(old, new, 1)
        path.write_text(source)
    return str(folder)


def tool(folder: Path) -> str:
    """PATH with a stand-in for compute-sanitizer in front: a process that dies has written where
    it may not; of one that is killed it says nothing."""
    folder.mkdir(exist_ok=True)
    path = folder / "compute-sanitizer"
    path.write_text(TOOL)
    path.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def images(folder: Path) -> str:
    """A file of a few, as large as those of CIFAR-10."""
    generator, path = np.random.default_rng(0), folder / "images.npz"
    arrays = {}
    for split, count in (("train", 9), ("test", 10)):
        arrays[f"x_{split}"] = generator.integers(0, 256, (count, 32, 32, 3), np.uint8)
        arrays[f"y_{split}"] = np.arange(count) % 10
    np.savez(path, **arrays)
    return str(path)


class CutOff(Worker):
    """Time is over once so many cases have run."""

    cases = 1000

    def run(self, name: str, work: Callable[[], Row | None], silence: float = 0) -> bool:
        if len(self.done) >= self.cases:
            self.stop = 0
        return super().run(name, work, silence)


@dataclass
class InProcess:
    """Phases of parts, run here: no process has to begin."""

    out: Path

    def __call__(
        self, part: str, phase: str, only: str, cases: int = 1000, **settings: Any
    ) -> Found:
        """Run a phase until so many cases are done; the table is what the part makes of it."""
        module = importlib.import_module(PARTS[part][0])
        which = next(p for p in module.PHASES if p.name == phase)
        begin = (self.out / ROWS).stat().st_size if (self.out / ROWS).exists() else 0
        how = Settings(
            **{"part": PARTS[part][0], "out": str(self.out), "only": only, "begin": begin},
            **{"machine": "benchmarks.gpu.stand_in", "scratch": str(self.out)} | settings,
        )
        place, _, function = which.work.partition(":")
        worker = CutOff(how, which, 0, 1, time.time() + 300)
        worker.cases = cases
        with suppress(SystemExit):
            getattr(importlib.import_module(place), function)(worker)
        rows = Tail(self.out / ROWS, begin).new()
        return Found(0, module.table(rows), rows)


@pytest.fixture
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """What a stand-in changes is as it was afterwards."""
    fake_cupy.install_machine(monkeypatch)
    monkeypatch.setattr("minidl.devices.cuda.cubins", fake_cupy.libraries)
    monkeypatch.setattr(fake_cupy, "DEVICE", fake_cupy.DEVICE)
    return InProcess(tmp_path)


def results(found: Found) -> dict[str, str]:
    """By case."""
    return {row["case"]: row["result"] for row in found.rows if "case" in row}
