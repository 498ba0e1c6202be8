"""Launches that reduce over rows: bias gradients and batch normalization."""

from __future__ import annotations

import numpy as np

from minidl.ir import Op, Tensor
from minidl.ops.cuda.launch import THREADS, Address, Argument, Launch, int32, scratch_of
from minidl.ops.cuda.operands import ctype
from minidl.ops.cuda.rules import source_of

LANES = 32
PARTS = 256
"""Partial accumulators of a column at most."""
LEAST_ROWS = 64
"""Of a part."""

SUM, MOMENTS, GRADIENTS = 1, 4, 2
"""Floats of one accumulator: see kernels/reduce.cuh and kernels/batchnorm2d.cu."""


def rows_of_a_part(rows: int) -> int:
    return max(LEAST_ROWS, -(-rows // PARTS))


def partial_floats(rows: int, columns: int, floats: int = SUM) -> int:
    """Elements of planned scratch that a reduction over rows needs; `floats` of an accumulator."""
    return -(-rows // rows_of_a_part(rows)) * columns * floats


def reduce_rows(
    op: Op,
    of: Tensor,
    source: Argument,
    to: Argument,
    floats: int = SUM,
    parts_kernel: str = "",
    counted: int = 0,
) -> list[Launch]:
    """Partial accumulators of the rows of `of` in scratch, then the accumulator of those.

    `source` and `to` are the fields of the source and of the sink; the kernels are called
    `<op>_parts<T>` (or as `parts_kernel` says) and `<op>`, both a `ReduceColumns`. `counted`: what
    the source counts in 31 bits, if not the columns.
    """
    columns, name = of.shape[-1], op.function.__name__
    rows = of.size // columns
    share = rows_of_a_part(rows)
    parts = -(-rows // share)
    partials = (Address(scratch_of(op)), int32(columns))

    def launch(
        kernel: str, count: int, of_a_part: int, access: int, source: Argument, to: Argument
    ) -> Launch:
        sizes = np.int64(count), np.int64(of_a_part), int32(columns)
        grid = -(-columns // LANES), -(-count // of_a_part), 1
        shared = THREADS * floats * 4
        most = max(counted, columns + LANES)
        arguments = (source, to, *sizes)
        file = source_of(op)
        return Launch(kernel, file, grid, THREADS, arguments, shared, counted=most, access=access)

    first = parts_kernel or f"{name}_parts<{ctype(of)}>"
    return [
        launch(first, rows, share, of.itemsize, source, partials),
        launch(name, parts, parts, 4, partials, to),
    ]
