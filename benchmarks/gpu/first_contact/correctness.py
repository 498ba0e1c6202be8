"""Every op against float64, every memory mode and every in-place pair bit for bit."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.names import PRECISIONS
from benchmarks.gpu.rows import Row
from benchmarks.gpu.worker import Worker
from tests.simulator.bench import ERRORS, in_place_differences, relative_errors, run_case
from tests.simulator.networks import NETWORKS
from tests.simulator.test_ops import IDS, TABLE
from tests.simulator.test_steps import batches, options
from tests.training import OTHER_MODES, Batch, Outcome, train

CASES = {name: case for name, (_, case) in zip(IDS, TABLE, strict=True)}
OP_CASES = [(name, precision) for precision in PRECISIONS for name in IDS]
MODE_CASES = [
    (name, precision, memory)
    for precision in PRECISIONS
    for name in NETWORKS
    for memory in ("naive", *OTHER_MODES)
]


def ops(worker: Worker) -> None:
    for name, precision in worker.mine(OP_CASES, " ".join):
        worker.run(f"{name} {precision}", partial(_op, worker, name, precision))


def _op(worker: Worker, name: str, precision: str) -> Row:
    case = CASES[name]
    bound = max(ERRORS[precision], 4 * case.float32_error)
    errors = relative_errors(run_case(case, precision, worker.device))
    worst = max(errors, key=lambda t: np.nan_to_num(errors[t], nan=np.inf))
    row: Row = {"tensor": worst, "error": errors[worst], "bounds": errors[worst] / bound}
    if not errors[worst] <= bound:
        row["wrong"] = f"{worst}: error {errors[worst]:.3g} is {row['bounds']:.3g} bounds"
    return row


def in_place(worker: Worker) -> None:
    some = [(name, precision) for name, precision in OP_CASES if precision != "tf32"]
    for name, precision in worker.mine(some, " ".join):
        worker.run(f"{name} {precision}", partial(_in_place, worker, name, precision))


def _in_place(worker: Worker, name: str, precision: str) -> Row:
    found = in_place_differences(CASES[name], precision, worker.device)
    return {"wrong": f"other bits: {found[0]}"} if found else {}


def modes(worker: Worker) -> None:
    """`naive` has to end in finite losses, the others in its bits."""
    naive: dict[tuple[str, str], tuple[list[Batch], Outcome]] = {}

    def of_naive(name: str, precision: str) -> tuple[list[Batch], Outcome]:
        if (name, precision) not in naive:
            naive.clear()
            data = batches(NETWORKS[name](), 3)
            naive[name, precision] = data, trained(name, precision, "naive", data)
        return naive[name, precision]

    def trained(name: str, precision: str, memory: str, data: list[Batch]) -> Outcome:
        how: dict[str, Any] = options(name, device=worker.device, precision=precision)
        return train(NETWORKS[name](), data, memory, **how)

    def work(name: str, precision: str, memory: str) -> Row:
        data, expected = of_naive(name, precision)
        if memory == "naive":
            finite = np.isfinite([float.fromhex(loss) for loss in expected.losses]).all()
            return {} if finite else {"wrong": f"losses {expected.losses}"}
        return _difference(trained(name, precision, memory, data), expected)

    for name, precision, memory in worker.mine(MODE_CASES, " ".join, group=lambda case: case[:2]):
        worker.run(f"{name} {precision} {memory}", partial(work, name, precision, memory))


def _difference(found: Outcome, expected: Outcome) -> Row:
    if found == expected:
        return {}
    if found.losses != expected.losses:
        return {"wrong": f"losses {found.losses}, naive {expected.losses}"}
    other = [name for name, bits in expected.variables.items() if found.variables[name] != bits]
    return {"wrong": f"other bits than naive in {', '.join(other[:4]) or 'the prediction'}"}
