"""The least that an op can take on a card: its roofline."""

from __future__ import annotations

from benchmarks.gpu.rows import Row
from minidl.ir import Op


def floor(op: Op, tflops: float | None, gbytes: float | None) -> Row:
    """The longer of computing at the ceiling and of moving every operand once. tflops, gbytes:
    ceilings of products and of copies, where they are known."""
    if not (tflops and gbytes):
        return {}
    compute, move = op.flops / tflops / 1e9, op.bytes_moved / gbytes / 1e6
    return {"floor_ms": max(compute, move), "bound": "compute" if compute > move else "memory"}
