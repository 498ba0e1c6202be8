"""Time of a whole training step, and its memory, beside PyTorch's.

Fair terms: the same batch, images already on the device on both sides (minidl copies them into
the arena in every step, and that counts), SGD with momentum and weight decay; PyTorch in
channels_last with bf16 autocast or TF32 or neither. Whoever is compared takes turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from benchmarks.gpu import compiling
from benchmarks.gpu.names import DEVICE, PRECISIONS
from benchmarks.gpu.network import Case, Resident
from benchmarks.gpu.resident import Held, Timetabled, left_out_if_too_large
from benchmarks.gpu.rows import Row
from benchmarks.gpu.sources import of_step
from benchmarks.gpu.tables import aligned, number, of_phase, ratio, whole
from benchmarks.gpu.worker import Phase, Worker
from minidl.report.times import time_step

PHASES = (
    Phase("environment", "benchmarks.gpu.environment:environment", most=0.2),
    compiling.phase(f"{__name__}:compile_kernels", most=0.3, least=0.1),
    Phase("steps", f"{__name__}:steps", most=1.0, least=0.5, needs=DEVICE),
)
MEMORIES = ("arena", "naive")
ENGINES = {"eager": 90, "compiled": 240, "reduce-overhead": 240}
"""Beside which a step is timed, and the seconds that it may take to begin."""


def compile_kernels(worker: Worker) -> None:
    compiling.compile_all(
        worker,
        [
            of_step(case, precision, worker.device.card, memory)
            for precision, memory, case in product(PRECISIONS, MEMORIES, worker.machine.CASES)
        ],
    )


class Steps(Held):
    """The cases of this phase."""

    def ours(self, case: Case, precision: str) -> Row:
        """`arena` and `naive` in turns; the losses of both have to be the same and to fall."""
        row = self.cleared()
        with left_out_if_too_large():
            arena = self.resident(case, precision)
            naive = self.new_resident(case, precision, "naive")
            row |= {"arena_mib": mib(arena), "naive_mib": mib(naive)}
            losses = self.losses(arena)
            others = self.losses(naive)
            row |= {"loss": losses[0], "loss_later": losses[-1]}
            if not np.isfinite(losses).all() or not min(losses[1:]) < losses[0]:
                row["wrong"] = f"the loss does not fall: {losses[0]:.4g} to {losses[-1]:.4g}"
            elif losses != others:
                row["wrong"] = f"losses of arena {losses}, of naive {others}"
            row["predicted_ms"] = 1e3 * time_step(arena.step.plan).seconds
            ms = self.in_turns({"arena": arena, "naive": naive})
        return row | {"ms": ms["arena"], "naive_ms": ms["naive"]}

    def losses(self, resident: Resident) -> list[float]:
        return [resident.step(*resident.data) for _ in range(self.machine.STEPS)]

    def beside(self, case: Case, precision: str, name: str) -> Row:
        """An engine's time and ours, in turns, and the most memory that it takes."""
        engine, row = self.engine(name), self.cleared()
        with left_out_if_too_large():
            ours = self.resident(case, precision)
            theirs = engine.step(case.model, ours.data, precision)
            peak = theirs.peak_bytes() / 2**20
            ms = self.in_turns({"ours": ours, name: theirs})
        row |= {"engine": name, "ms": ms["ours"], "engine_ms": ms[name]}
        return row | {"arena_mib": mib(ours), "engine_peak_mib": peak}


def mib(resident: Resident) -> float:
    return resident.step.plan.arena_bytes / 2**20


def steps(worker: Worker) -> None:
    """bf16 comes first, and PyTorch as it is; what it compiles for a minute comes later."""
    shared = Steps(worker)
    cases = list(_cases(shared, worker.machine.CASES))
    for name, work, silence in worker.mine(cases, lambda case: case[0]):
        worker.run(name, work, silence)


def _cases(shared: Steps, cases: tuple[Case, ...]) -> Iterator[Timetabled]:
    for precision in PRECISIONS:
        for case in cases:
            yield f"{case.name} {precision} step", partial(shared.ours, case, precision), 90
            yield _beside(shared, case, precision, "eager")
        for case in cases:
            yield _beside(shared, case, precision, "compiled")
    for precision, case in product(PRECISIONS, cases):
        yield _beside(shared, case, precision, "reduce-overhead")


def _beside(shared: Steps, case: Case, precision: str, engine: str) -> Timetabled:
    work = partial(shared.beside, case, precision, engine)
    return f"{case.name} {precision} beside {engine}", work, ENGINES[engine]


def table(rows: list[Row]) -> str:
    return whole(rows, [_steps([row for row in rows if "case" in row])])


def _steps(rows: list[Row]) -> str:
    """A line a network and precision."""
    by_name = {row["case"]: row for row in of_phase(rows, "steps")}
    lines = []
    for of in dict.fromkeys(
        name.rpartition(" step")[0] or name.partition(" beside ")[0] for name in by_name
    ):
        step = by_name.get(f"{of} step", {})
        cells = [number(step.get("arena_mib"), 0), number(step.get("naive_mib"), 0)]
        cells += [number(step.get("ms")), number(step.get("naive_ms"))]
        for engine in ENGINES:
            row = by_name.get(f"{of} beside {engine}", {})
            cells += [number(row.get("engine_ms")), ratio(row.get("engine_ms"), row.get("ms"))]
            cells.append(number(row.get("engine_peak_mib"), 0))
        lines.append((of, *cells))
    head = ["STEPS", "arena MiB", "naive MiB", "arena ms", "naive ms"]
    for engine in ENGINES:
        head += [f"{engine} ms", "/ ours", "peak MiB"]
    return aligned([tuple(head), *lines]) if lines else ""
