"""Steps that are measured one after the other: one is held at a time, and engines take turns."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks.gpu.engines import Engine, Timed
from benchmarks.gpu.names import PRECISIONS
from benchmarks.gpu.network import Case, Resident, batch_of, optimizer
from benchmarks.gpu.rows import Row
from benchmarks.gpu.timing import copy_bandwidth
from benchmarks.gpu.worker import CaseLeftOutError, Worker
from minidl.ir import ArenaTooLargeError

Timetabled = tuple[str, Callable[[], Row], float]
"""A case: its name, its work, and the seconds that it may take."""
NO_ENGINE = "no PyTorch that sees the GPU"

HELD_MIB = 1024
"""What kernels, libraries and graphs may keep of a device's memory; a case's tensors may not."""


class Held:
    """What the cases of a phase share: the engines, and one resident step at a time."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.machine = worker, worker.machine
        self.engines: dict[str, Engine] = {e.name: e for e in worker.machine.engines()}
        self.held: tuple[Any, Resident] | None = None
        self.free_at_first: int | None = None
        self.ceilings: dict[str, float] = {}
        for row in worker.found:  # by a process before this one
            self.ceilings |= row.get("ceilings", {})

    def resident(self, case: Case, precision: str, memory: str = "arena") -> Resident:
        """The step of a case, compiled when it is first asked for; the one before is let go."""
        key = case.name, precision, memory
        if self.held is None or self.held[0] != key:
            self.release()
            self.held = key, self.new_resident(case, precision, memory)
        return self.held[1]

    def new_resident(self, case: Case, precision: str, memory: str) -> Resident:
        network = case.build()
        how = {"precision": precision, "optimizer": optimizer(case.lr), "memory": memory}
        return Resident(self.worker.device, network, batch_of(network, case.batch), **how)

    def engine(self, name: str) -> Engine:
        if name not in self.engines:
            raise CaseLeftOutError(NO_ENGINE)
        return self.engines[name]

    def release(self) -> None:
        """Give back the memory of all that was measured so far."""
        self.held = None
        gc.collect()
        for engine in self.engines.values():
            engine.release()

    def cleared(self) -> Row:
        """Release, and what the device then says: MiB free, and how many of those that were free at
        the first case are not; "wrong" where a case before still has its memory."""
        self.release()
        free = self.worker.device.available()
        if self.free_at_first is None:
            self.free_at_first = free
        kept = (self.free_at_first - free) / 2**20
        row: Row = {"free_mib": round(free / 2**20), "kept_mib": round(kept)}
        if kept > HELD_MIB:
            row["wrong"] = f"{kept:.0f} MiB of the cases before are still held"
        return row

    def in_turns(self, steps: dict[str, Timed], seconds: float | None = None) -> dict[str, float]:
        """Medians of some rounds, in each of which everyone has a turn of the same length: of
        `seconds`, or as the machine says."""
        turn = 1e3 * (self.machine.TURN_SECONDS if seconds is None else seconds)
        repeats = {}
        for name, step in steps.items():
            step.milliseconds(1)
            repeats[name] = max(1, min(100, round(turn / step.milliseconds(1))))
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(self.machine.ROUNDS):
            for name, step in steps.items():
                times[name].append(step.milliseconds(repeats[name]))
        return {name: statistics.median(t) for name, t in times.items()}

    # -- ceilings --------------------------------------------------------------------------------

    def copy(self) -> Row:
        return self._ceiling("copy GB/s", copy_bandwidth(self.worker.device, self.machine))

    def product(self, precision: str) -> Row:
        if not self.engines:
            raise CaseLeftOutError(NO_ENGINE)
        engine = next(iter(self.engines.values()))
        return self._ceiling(f"{precision} TFLOP/s", engine.product_tflops(precision))

    def _ceiling(self, name: str, value: float) -> Row:
        self.ceilings[name] = value
        return {"ceilings": {name: value}}

    def ceilings_of(self, precision: str) -> tuple[float | None, float | None]:
        """TFLOP/s and GB/s, as far as they were measured."""
        return self.ceilings.get(f"{precision} TFLOP/s"), self.ceilings.get("copy GB/s")


def ceiling_cases(shared: Held) -> Iterator[Timetabled]:
    yield "copy", shared.copy, 45
    for precision in PRECISIONS:
        yield f"product {precision}", partial(shared.product, precision), 60


@contextmanager
def left_out_if_too_large() -> Iterator[None]:
    """What does not fit into the memory of a small card is left out: it is no fault."""
    try:
        yield
    except ArenaTooLargeError as error:
        raise CaseLeftOutError(str(error)) from None
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":  # PyTorch's, which is not always there
            raise
        raise CaseLeftOutError(f"PyTorch: {str(error).splitlines()[0]}") from None
