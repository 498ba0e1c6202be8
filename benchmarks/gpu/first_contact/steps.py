"""Whole training steps: their time beside PyTorch's, what they may not do, float64, op by op."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import product

import numpy as np

from benchmarks.gpu.first_contact import profile, reference
from benchmarks.gpu.names import PRECISIONS, REFERENCED
from benchmarks.gpu.network import Case
from benchmarks.gpu.resident import Held, ceiling_cases
from benchmarks.gpu.rows import Row
from benchmarks.gpu.worker import Worker

Work = Callable[[], Row]
COUNTED = 4
"""Steps in which launches and allocations are counted."""


class Steps(Held):
    """The cases of this phase."""

    def run(self, name: str, work: Work, silence: float) -> None:
        if not self.worker.run(name, work, silence):
            self.held = None  # what a case that failed leaves is not measured again

    # -- cases -------------------------------------------------------------------------------------

    def ours(self, case: Case, precision: str) -> Row:
        """Binding, the loss, which has to fall, and the time alone."""
        self.held, begin = None, time.perf_counter()
        resident = self.resident(case, precision)
        bound = time.perf_counter() - begin
        losses = [resident.step(*resident.data) for _ in range(self.machine.STEPS)]
        row: Row = {"bind_s": round(bound, 2), "loss": losses[0], "loss_later": losses[-1]}
        row["arena_mib"] = resident.step.plan.arena_bytes / 2**20
        if not np.isfinite(losses).all() or not min(losses[1:]) < losses[0]:
            return row | {"wrong": f"the loss does not fall: {losses[0]:.4g} to {losses[-1]:.4g}"}
        return row | {"ms": self.in_turns({"ours": resident})["ours"]}

    def once(self, case: Case, precision: str) -> Row:
        """A step is one graph launch, no other launch and no allocation."""
        resident = self.resident(case, precision)
        device, step = self.worker.device, resident.step
        for _ in range(2):  # the second call captures the graph
            step(*resident.data)
        device.synchronize()
        before, free = asdict(device.counts), device.available()
        for _ in range(COUNTED):
            step(*resident.data)
        device.synchronize()
        spent = {name: n - before[name] for name, n in asdict(device.counts).items()}
        spent["bytes"] = free - device.available()
        expected = {"graphs": COUNTED, "kernels": 0, "allocations": 0, "bytes": 0}
        wrong = f"{COUNTED} steps took {spent}, to be {expected}"
        return spent if spent == expected else spent | {"wrong": wrong}

    def beside(self, case: Case, precision: str, name: str) -> Row:
        """An engine's time and ours, in turns."""
        engine, resident = self.engine(name), self.resident(case, precision)
        theirs = engine.step(case.model, resident.data, precision)
        ms = self.in_turns({"ours": resident, name: theirs})
        return {"engine": name, "ms": ms["ours"], "engine_ms": ms[name]}

    def op_by_op(self, case: Case, precision: str) -> Row:
        resident = self.resident(case, precision)
        ceilings = self.ceilings_of(precision)
        try:
            return profile.measure(resident, *ceilings, launches=8 if self.machine.IS_GPU else 2)
        finally:
            self.held = None  # its ops ran several times: it is no step any more

    def exactness(self, case: Case, precision: str) -> Row:
        self.held = None
        return reference.compare(self.worker.device, case, precision)


def steps(worker: Worker) -> None:
    """What is wanted first comes first: bf16, then exactness, then the rest; what compiles for a
    minute comes last."""
    shared = Steps(worker)
    cases = [*ceiling_cases(shared), *_cases(shared, worker.machine.CASES)]
    for name, work, silence in worker.mine(cases, lambda case: case[0]):
        shared.run(name, work, silence)


def _cases(shared: Steps, cases: tuple[Case, ...]) -> Iterator[tuple[str, Work, float]]:
    """Name, work, and the seconds that it may take."""
    for precision in PRECISIONS:
        for case in cases:
            name, of = f"{case.name} {precision}", (case, precision)
            yield f"{name} step", partial(shared.ours, *of), 60
            yield f"{name} once", partial(shared.once, *of), 45
            yield f"{name} beside eager", partial(shared.beside, *of, "eager"), 60
            yield f"{name} ops", partial(shared.op_by_op, *of), 45
        if precision == PRECISIONS[0]:
            for case, how in product(cases, REFERENCED):
                yield f"{case.name} {how} float64", partial(shared.exactness, case, how), 90
    for precision, case in product(PRECISIONS, cases):
        name = f"{case.name} {precision} beside compiled"
        yield name, partial(shared.beside, case, precision, "compiled"), 120
