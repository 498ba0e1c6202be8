"""Bytes: predicted, taken from the device, taken during steps; PyTorch's; the largest batches.

The largest batch is looked for under a limit that a smaller card has: minidl's is planned and then
trained, PyTorch's is found by halving until a step no longer fits.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial

import numpy as np

import minidl as dl
from benchmarks.gpu import compiling
from benchmarks.gpu.names import DEVICE, PRECISIONS
from benchmarks.gpu.network import Case, batch_of, optimizer
from benchmarks.gpu.resident import Held, Timetabled, left_out_if_too_large
from benchmarks.gpu.rows import Row
from benchmarks.gpu.sources import of_step
from benchmarks.gpu.tables import aligned, number, of_phase, ratio, whole
from benchmarks.gpu.worker import CaseLeftOutError, Phase, Worker

PHASES = (
    Phase("environment", "benchmarks.gpu.environment:environment", most=0.2),
    compiling.phase(f"{__name__}:compile_kernels", most=0.3, least=0.1),
    Phase("memory", f"{__name__}:memory", most=1.0, least=0.5, silence=60, needs=DEVICE),
)
STEPS = 5
"""Steps in which nothing may be taken."""
MOST = 1024
"""The largest batch that is tried with PyTorch."""
SLACK = 64 * 2**20
"""Bytes beyond the arena that the device may hand out for it: it rounds up."""


def compile_kernels(worker: Worker) -> None:
    cases, card = worker.machine.CASES, worker.device.card
    compiling.compile_all(worker, [of_step(case, p, card) for p in PRECISIONS for case in cases])


class Memory(Held):
    """The cases of this phase."""

    def ours(self, case: Case, precision: str) -> Row:
        """The arena is as large as was predicted, and nothing is taken beside it."""
        device, row = self.worker.device, self.cleared()
        with left_out_if_too_large():
            predicted = self.plan(case, case.batch, precision).arena_bytes
            self.step(case, case.batch, precision)  # kernels are loaded now, which takes memory
            gc.collect()
            before = device.available()
            step, data = self.step(case, case.batch, precision)
            taken = before - device.available()
            first = device.available()
            for _ in range(STEPS):
                step(*data)
            device.synchronize()
        used = step.arena.bytes.mem.size
        row |= {"predicted": predicted, "arena": used, "device_says": taken}
        row |= {"during_steps": first - device.available()}
        if used != predicted:
            row["wrong"] = f"the arena has {used} bytes, {predicted} were predicted"
        elif row["during_steps"]:
            row["wrong"] = f"{row['during_steps']} bytes were taken during steps"
        elif taken > used + SLACK:
            row["wrong"] = f"{taken} bytes were taken for an arena of {used}"
        return row

    def largest(self, case: Case, precision: str) -> Row:
        """The batch that the plan promises for the limit is trained."""
        limit, row = self.limit, self.cleared()
        batch = self.plan(case, 8, precision).largest_batch(limit)
        if not batch:
            raise CaseLeftOutError(f"not even batch 1 fits into {limit} bytes")
        step, _ = self.step(case, batch, precision)
        row |= {"largest": batch, "limit": limit, "took": step.arena.bytes.mem.size}
        if row["took"] > limit:
            row["wrong"] = f"batch {batch} took {row['took']} bytes, over {limit}"
        return row

    def peak(self, case: Case, precision: str) -> Row:
        engine, row = self.engine("eager"), self.cleared()
        with left_out_if_too_large():
            data = batch_of(case.build(), case.batch)
            peak = engine.step(case.model, data, precision).peak_bytes()
        return row | {"engine_peak": peak}

    def engine_largest(self, case: Case, precision: str) -> Row:
        """By halving, to within 2 %."""
        engine, limit, row = self.engine("eager"), self.limit, self.cleared()
        network, low, high = case.build(), 0, MOST
        while high - low > max(1, low // 50):
            middle = (low + high) // 2
            fits = engine.fits(case.model, batch_of(network, middle), precision, limit)
            low, high = (middle, high) if fits else (low, middle)
        return row | {"engine_largest": low, "limit": limit}

    @property
    def limit(self) -> int:
        """What a smaller card has, or this one has free."""
        limit: int = min(self.machine.LIMIT, self.worker.device.available())
        return limit

    def plan(self, case: Case, batch: int, precision: str) -> dl.Plan:
        how = {"precision": precision, "optimizer": optimizer(case.lr)}
        return dl.plan(case.build(), batch, gpu=self.worker.device.card, **how)

    def step(
        self, case: Case, batch: int, precision: str
    ) -> tuple[dl.Step, tuple[np.ndarray, np.ndarray]]:
        """A step that has run twice: the second run captures it."""
        network, how = case.build(), {"precision": precision, "optimizer": optimizer(case.lr)}
        step = dl.compile(network, batch, device=self.worker.device, **how)
        data = batch_of(network, batch)
        for _ in range(2):
            step(*data)
        return step, data


def memory(worker: Worker) -> None:
    """First what is exact, then what takes many tries."""
    shared = Memory(worker)
    for name, work, silence in worker.mine(list(_cases(shared)), lambda case: case[0]):
        worker.run(name, work, silence)


def _cases(shared: Memory) -> Iterator[Timetabled]:
    for precision in PRECISIONS:
        for case in shared.machine.CASES:
            name, of = f"{case.name} {precision}", (case, precision)
            yield f"{name} arena", partial(shared.ours, *of), 60
            yield f"{name} peak of PyTorch", partial(shared.peak, *of), 60
            yield f"{name} largest batch", partial(shared.largest, *of), 90
        for case in shared.machine.CASES:
            work = partial(shared.engine_largest, case, precision)
            yield f"{case.name} {precision} largest batch of PyTorch", work, 120


def table(rows: list[Row]) -> str:
    return whole(rows, [_bytes([row for row in rows if "case" in row])])


CASES = (" arena", " peak of PyTorch", " largest batch", " largest batch of PyTorch")


def _bytes(rows: list[Row]) -> str:
    """A line a network and precision."""
    by_name = {row["case"]: row for row in of_phase(rows, "memory")}
    found: dict[str, Row] = {}
    for name, row in by_name.items():
        of = next(name.removesuffix(end) for end in reversed(CASES) if name.endswith(end))
        found[of] = found.get(of, {}) | row
    lines = []
    for of, row in found.items():
        sizes = [row.get(name) for name in ("predicted", "arena", "device_says", "engine_peak")]
        cells = [number(None if size is None else size / 2**20, 1) for size in sizes]
        cells += [ratio(row.get("engine_peak"), row.get("predicted"))]
        cells += [str(row.get(name, "-")) for name in ("largest", "engine_largest")]
        limit = row.get("limit")
        lines.append((of, *cells, number(None if limit is None else limit / 2**30, 1)))
    head = ("MEMORY", "predicted MiB", "arena", "device says", "PyTorch's peak", "/ ours")
    head = (*head, "largest batch", "PyTorch's", "in GiB")
    return aligned([head, *lines]) if lines else ""
