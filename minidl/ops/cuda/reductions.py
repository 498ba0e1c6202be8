"""Launches that reduce over rows: bias gradients and batch normalization."""

from __future__ import annotations

import numpy as np

from minidl.ir import Op, Tensor
from minidl.ops.cuda.elementwise import by_channel
from minidl.ops.cuda.launch import (
    THREADS,
    Address,
    Argument,
    Launch,
    division,
    int32,
    rule,
    scratch_of,
    source_of,
)
from minidl.ops.cuda.operands import ctype, pixel_pitch
from minidl.ops.cuda.pooled import Unpooling

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

    def launch(kernel: str, count: int, of_a_part: int, source: Argument, to: Argument) -> Launch:
        sizes = np.int64(count), np.int64(of_a_part), int32(columns)
        grid = -(-columns // LANES), -(-count // of_a_part), 1
        shared = THREADS * floats * 4
        most = max(counted, columns + LANES)
        arguments = (source, to, *sizes)
        return Launch(kernel, source_of(op), grid, THREADS, arguments, shared, counted=most)

    return [
        launch(parts_kernel or f"{name}_parts<{ctype(of)}>", rows, share, source, partials),
        launch(name, parts, parts, partials, to),
    ]


@rule("bias_wgrad")
def bias_wgrad(op: Op) -> list[Launch]:
    (db, *_), (dy,) = op.writes, op.original.reads
    pool = Unpooling.of(op)
    if pool is None:
        source: Argument = (Address(dy), np.int64(pixel_pitch(dy)))
        return reduce_rows(op, dy, source, (Address(db),))
    source = (pool.fields, *(division(n) for n in dy.shape[1:3]))
    kernel = f"bias_wgrad_unpooled<{pool.kind}>"
    return reduce_rows(
        op, dy, source, (Address(db),), parts_kernel=kernel, counted=dy.size // dy.shape[-1]
    )


@rule("batchnorm2d_statistics")
def batchnorm2d_statistics(op: Op) -> list[Launch]:
    mean, inv_std, running_mean, running_var, batches, *_ = op.writes
    x, eps, momentum = op.reads[0], op.attributes["eps"], op.attributes["momentum"]
    count = x.size // x.shape[-1]
    to = (
        *(Address(t) for t in (mean, inv_std, running_mean, running_var, batches)),
        np.float32(eps),
        np.float32(momentum),
        np.float32(1 - momentum),
        np.float32(count / (count - 1)),
    )
    source = (Address(x), np.int64(pixel_pitch(x)))
    return reduce_rows(op, x, source, to, MOMENTS)


@rule("batchnorm2d_wgrad")
def batchnorm2d_wgrad(op: Op) -> list[Launch]:
    (dgamma, dbeta, *_), (dy, x, mean, inv_std) = op.writes, op.reads
    pitches = np.int64(pixel_pitch(dy)), np.int64(pixel_pitch(x))
    source = (Address(dy), Address(x), Address(mean), *pitches)
    to = (Address(dgamma), Address(dbeta), Address(inv_std))
    return reduce_rows(op, dy, source, to, GRADIENTS)


@rule("batchnorm2d_normalize", "batchnorm2d_inference")
def batchnorm2d_normalize(op: Op) -> list[Launch]:
    main = op.original
    x, *channels = (t for t in main.operands if t is not main.writes[0])
    values = (np.float32(main.attributes["eps"]),) if "eps" in main.attributes else ()
    return [by_channel(op, [x], channels, values)]


@rule("batchnorm2d_dgrad")
def batchnorm2d_dgrad(op: Op) -> list[Launch]:
    dy, x, *channels = op.reads
    count = np.float32(dy.size // dy.shape[-1])
    return [by_channel(op, [dy, x], channels, (count,))]
