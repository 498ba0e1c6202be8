"""Milliseconds of each op of a step, and the least that the card's ceilings allow.

The ops run in the step's order, each several times when its turn comes, so that what they read was
written by the ops before.
"""

from __future__ import annotations

from benchmarks.gpu.floor import floor
from benchmarks.gpu.network import Resident
from benchmarks.gpu.rows import Row
from benchmarks.gpu.timing import Graphed
from minidl.ir import Op, Tensor
from minidl.placed.graph import PlacedGraph

WORST = 6


def measure(
    resident: Resident, tflops: float | None, gbytes: float | None, launches: int = 8
) -> Row:
    """tflops, gbytes: ceilings of products and of copies, where they are known."""
    step, device = resident.step, resident.device
    resident.fill()
    found: list[Row] = []
    for op, call in zip(step.plan.graph.ops, step._program.calls, strict=True):
        if _eats_its_index(op, step.plan):
            with device.running():
                call()
            continue
        ms = Graphed(device, call, launches).milliseconds(3)
        row: Row = {"op": op.name, "ms": ms, "flops": op.flops, "bytes": op.bytes_moved}
        found.append(row | floor(op, tflops, gbytes))
    worst = sorted(found, key=lambda row: row.get("floor_ms", 0) - row["ms"])[:WORST]
    total = {"sum_ms": sum(row["ms"] for row in found), "ops": found, "slowest": worst}
    if tflops and gbytes:
        total["floor_ms"] = sum(row["floor_ms"] for row in found)
    return total


def _eats_its_index(op: Op, plan: PlacedGraph) -> bool:
    """Whether it writes over whole numbers that it reads: run again, it would read remains of
    floats as places in memory."""
    return any(_overlap(plan, w, r) for r in op.reads if r.integer for w in op.writes)


def _overlap(plan: PlacedGraph, a: Tensor, b: Tensor) -> bool:
    start, other = plan.offset(a), plan.offset(b)
    return start < other + b.nbytes and other < start + a.nbytes
