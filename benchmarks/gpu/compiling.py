"""Compile every kernel that a part's other phases need, on all cores, and load it as the device
does.

Each process takes a share of what needs kernels; a kernel that several need is compiled by the
process that claims it first. Machine code comes from MINIDL_CACHE, or from a folder `.cubins` in
the checkout where one was carried along, if it was made of the same sources for this card.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.names import DEVICE
from benchmarks.gpu.rows import Row
from benchmarks.gpu.worker import Phase, Worker
from minidl.devices import nvrtc
from minidl.devices.kernels import Unit, unit_of
from minidl.ir import Op
from minidl.ops.cuda import launches_of

MANY = 1024
"""Workers: as many as there are cores."""


def phase(work: str, most: float, least: float) -> Phase:
    """The phase that compiles: `work` gives its sources to `compile_all`."""
    return Phase("compile", work, most=most, least=least, workers=MANY, silence=60, needs=DEVICE)


@dataclass(frozen=True)
class Source:
    """A case of another phase, and the ops that it will run."""

    name: str
    ops: Callable[[], Iterable[Op]]

    def units(self) -> list[Unit]:
        launches = [launch for op in self.ops() for launch in launches_of(op)]
        return list({unit.entry: unit for unit in map(unit_of, launches)}.values())


def compile_all(worker: Worker, sources: Sequence[Source]) -> None:
    """What is wanted first stands in front."""
    if worker.index == worker.of - 1:  # a cold disk is slow: meanwhile the others compile
        worker.run("engines", lambda: {"facts": worker.machine.load_engines()}, silence=90)
    count = _count_compilations()
    planned: dict[str, list[Unit]] = {}

    def plan(source: Source) -> Row:
        planned[source.name] = source.units()
        return {"units": len(planned[source.name])}

    for source in worker.mine(sources, lambda source: f"for {source.name}", counted=False):
        worker.run(f"for {source.name}", partial(plan, source))
        for unit in planned.pop(source.name, ()):
            if _claimed(worker, unit):
                worker.run(unit.entry, partial(_made, worker.device, unit, count))


def _claimed(worker: Worker, unit: Unit) -> bool:
    """Whether no other process of this run compiles the unit: one file a kernel, made once."""
    folder = Path(worker.settings.scratch) / "kernels"
    folder.mkdir(exist_ok=True)
    try:
        (folder / unit.entry).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _made(device: Any, unit: Unit, count: list[float]) -> Row:
    count.clear()
    begin = time.perf_counter()
    device.prepare([unit])
    spent = time.perf_counter() - begin
    return {"cached": not count, "compile_s": sum(count), "load_s": round(spent - sum(count), 4)}


def _count_compilations() -> list[float]:
    """Seconds of each compilation from now on: none where the machine code was there."""
    spent: list[float] = []
    compile_unit = nvrtc.compile_unit

    def timed(unit: Unit, architecture: str) -> nvrtc.Compiled:
        begin = time.perf_counter()
        try:
            return compile_unit(unit, architecture)
        finally:
            spent.append(round(time.perf_counter() - begin, 3))

    nvrtc.compile_unit = timed
    return spent
