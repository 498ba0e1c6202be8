"""Each convolution, product and bandwidth-bound op of the networks alone, beside PyTorch's product.

An op has memory of its own, on inputs that are made on the device; it is timed in a CUDA graph of
several launches, and so is PyTorch's. Products are compared with float64 too. Ceilings: PyTorch's
square product of 8192 in the same precision, and the device's own copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.gpu import compiling
from benchmarks.gpu.alone import PRODUCTS, Alone, distinct_ops, title
from benchmarks.gpu.engines import Timed
from benchmarks.gpu.floor import floor
from benchmarks.gpu.names import DEVICE, PRECISIONS
from benchmarks.gpu.network import Case
from benchmarks.gpu.predicted import predicted
from benchmarks.gpu.resident import (
    Held,
    Timetabled,
    ceiling_cases,
    left_out_if_too_large,
)
from benchmarks.gpu.rows import Row
from benchmarks.gpu.tables import aligned, number, of_phase, ratio, whole
from benchmarks.gpu.worker import Phase, Worker
from minidl.ir import Op

PHASES = (
    Phase("environment", "benchmarks.gpu.environment:environment", most=0.2),
    compiling.phase(f"{__name__}:compile_kernels", most=0.3, least=0.1),
    Phase("ops", f"{__name__}:ops", most=1.0, least=0.5, silence=60, needs=DEVICE),
)
BOUNDS = {"bf16": 2e-2, "tf32": 5e-3, "float32": 1e-4}
"""Of a product's error against float64, as a share of its norm."""
WORST = 20
"""Lines of the table."""


def compile_kernels(worker: Worker) -> None:
    def source(case: Case, precision: str) -> compiling.Source:
        ops = partial(_ops, worker, case, precision)
        return compiling.Source(f"ops {case.name} {precision}", ops)

    cases = worker.machine.CASES
    compiling.compile_all(worker, [source(case, p) for p in PRECISIONS for case in cases])


def _ops(worker: Worker, case: Case, precision: str) -> list[Op]:
    return distinct_ops(case, precision, worker.device.card, worker.machine.LEAST_BYTES)


class Kernels(Held):
    """The cases of this phase."""

    def time(self, op: Op, precision: str) -> Row:
        row = self.cleared()
        with left_out_if_too_large():
            timed: dict[str, Timed] = {"ours": Alone(self.worker.device, op)}
            theirs = self._theirs(op, precision)
            ms = self.in_turns({**timed, **theirs}, self.machine.OP_SECONDS)
        row |= {"op": title(op), "kernel": op.kernel}
        row |= {"ms": ms["ours"], "flops": op.flops, "bytes": op.bytes_moved}
        row |= {"engine_ms": ms["eager"]} if theirs else {}
        row |= predicted(op, self.worker.device.card)
        return row | floor(op, *self.ceilings_of(precision))

    def _theirs(self, op: Op, precision: str) -> dict[str, Timed]:
        """PyTorch's as it is, where the op is a product and there is one."""
        if op.function.__name__ not in PRODUCTS or "eager" not in self.engines:
            return {}
        return {"eager": self.engines["eager"].op(op, precision)}

    def error(self, op: Op, precision: str) -> Row:
        row, engine = self.cleared(), self.engine("eager")
        with left_out_if_too_large():
            alone = Alone(self.worker.device, op)
            alone.run()
            raw = alone.result()
            del alone
            row |= {"op": title(op), **engine.errors(op, precision, raw)}
        if not row["error"] <= BOUNDS[precision]:
            row["wrong"] = f"error {row['error']:.3g} against float64, over {BOUNDS[precision]}"
        return row


def ops(worker: Worker) -> None:
    """In each precision first the times, then the errors."""
    shared = Kernels(worker)
    cases = [*ceiling_cases(shared), *_cases(shared)]
    for name, work, silence in worker.mine(cases, lambda case: case[0]):
        worker.run(name, work, silence)


def _cases(shared: Kernels) -> Iterator[Timetabled]:
    cases = shared.machine.CASES
    for precision in PRECISIONS:
        of = [(case, op) for case in cases for op in _ops(shared.worker, case, precision)]
        for case, op in of:
            work = partial(shared.time, op, precision)
            yield f"{case.name} {precision} {title(op)}", work, 60
        for case, op in of:
            if op.function.__name__ in PRODUCTS:
                work = partial(shared.error, op, precision)
                yield f"{case.name} {precision} {title(op)} float64", work, 90


def table(rows: list[Row]) -> str:
    found = of_phase([row for row in rows if "case" in row], "ops")
    return whole(rows, [_summary(found), _worst(found)])


def _summary(rows: list[Row]) -> str:
    """A line a network and precision: all its ops together."""
    lines = []
    timed = [row for row in rows if "ms" in row]
    for of in dict.fromkeys(row["case"].removesuffix(f" {row['op']}") for row in timed):
        mine = [row for row in timed if row["case"] == f"{of} {row['op']}"]
        beside = [row for row in mine if "engine_ms" in row]
        sums = [sum(row[name] for row in beside) for name in ("ms", "engine_ms")]
        errors = [row["error"] for row in rows if "error" in row and row["case"].startswith(of)]
        cells = [str(len(mine)), number(sum(row["ms"] for row in mine))]
        cells += [number(sum(row["floor_ms"] for row in mine if "floor_ms" in row))]
        cells += [str(len(beside)), number(sums[0]), number(sums[1]), ratio(sums[1], sums[0])]
        lines.append((of, *cells, f"{max(errors):.1e}" if errors else "-"))
    head = ("OPS ALONE", "ops", "ms", "floor ms", "products", "ms", "PyTorch ms", "/ ours")
    return aligned([(*head, "worst error"), *lines]) if lines else ""


def reached(row: Row) -> str:
    tflops, gbytes = row["flops"] / row["ms"] / 1e9, row["bytes"] / row["ms"] / 1e6
    return f"{tflops:.1f} TFLOP/s, {gbytes:.0f} GB/s"


def _worst(rows: list[Row]) -> str:
    """The ops that take longest beyond their floor."""
    timed = [row for row in rows if "ms" in row]
    timed.sort(key=lambda row: row.get("floor_ms", 0) - row["ms"])
    lines = [
        (
            row["case"],
            *(number(row["ms"], 4), number(row.get("predicted_ms"), 4)),
            *(number(row.get("floor_ms"), 4), row.get("bound", "-")),
            *(number(row.get("engine_ms"), 4), ratio(row.get("engine_ms"), row["ms"])),
            reached(row),
        )
        for row in timed[:WORST]
    ]
    head = (
        "WORST OPS",
        "ms",
        "predicted",
        "floor ms",
        "bound by",
        "PyTorch ms",
        "/ ours",
        "reached",
    )
    return aligned([head, *lines]) if lines else ""
