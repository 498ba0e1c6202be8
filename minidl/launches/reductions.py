"""Launches that reduce over rows: bias gradients and batch normalization."""

from __future__ import annotations

import numpy as np

from minidl.ir import Op, Tensor
from minidl.launches.elementwise import map_rows
from minidl.launches.launch import (
    THREADS,
    Address,
    Argument,
    Launch,
    rule,
    scratch_of,
)
from minidl.launches.operands import (
    ctype,
    per_channel,
    pixel_pitch,
    sink,
    sink_tensors,
    sources_of_epilogue,
    width_of_vectors,
)

LANES = 32
PARTS = 256
"""Partial accumulators of a column at most."""
LEAST_ROWS = 64
"""Of a part."""

FLOATS = {"Sum": 1, "ShiftedMoments": 4, "Gradients": 2}
"""Of one accumulator."""


def rows_of_a_part(rows: int) -> int:
    return max(LEAST_ROWS, -(-rows // PARTS))


def partial_floats(rows: int, columns: int, accumulator: str) -> int:
    """Elements of planned scratch that a reduction over rows needs."""
    return -(-rows // rows_of_a_part(rows)) * columns * FLOATS[accumulator]


def _reduce(
    kernel: str,
    source_file: str,
    accumulator: str,
    rows: int,
    share: int,
    columns: int,
    source: Argument,
    to: Argument,
) -> Launch:
    arguments = (source, to, np.int64(rows), np.int64(share), np.int32(columns))
    grid = -(-columns // LANES), -(-rows // share), 1
    shared = THREADS * FLOATS[accumulator] * 4
    return Launch(kernel, source_file, grid, THREADS, arguments, shared)


def _two_launches(
    op: Op, source_file: str, of: Tensor, accumulator: str, source: Argument, to: Argument
) -> list[Launch]:
    """Partial accumulators of the rows of `of` in scratch, then the accumulator of those."""
    columns, name = of.shape[-1], op.function.__name__
    rows = of.size // columns
    share = rows_of_a_part(rows)
    parts = -(-rows // share)
    partials = (Address(scratch_of(op)), np.int32(columns))
    first = f"{name}_parts<{ctype(of)}>"
    how = (source_file, accumulator)
    return [
        _reduce(first, *how, rows, share, columns, source, partials),
        _reduce(name, *how, parts, parts, columns, partials, to),
    ]


@rule("bias_wgrad")
def bias_wgrad(op: Op) -> list[Launch]:
    (db, *_), (dy,) = op.writes, op.reads
    source = (Address(dy), np.int64(pixel_pitch(dy)))
    return _two_launches(op, "reduction", dy, "Sum", source, (Address(db),))


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
    return _two_launches(op, "batchnorm2d", x, "ShiftedMoments", source, to)


@rule("batchnorm2d_wgrad")
def batchnorm2d_wgrad(op: Op) -> list[Launch]:
    (dgamma, dbeta, *_), (dy, x, mean, inv_std) = op.writes, op.reads
    pitches = np.int64(pixel_pitch(dy)), np.int64(pixel_pitch(x))
    source = (Address(dy), Address(x), Address(mean), *pitches)
    to = (Address(dgamma), Address(dbeta), Address(inv_std))
    return _two_launches(op, "batchnorm2d", dy, "Gradients", source, to)


@rule("batchnorm2d_normalize", "batchnorm2d_inference")
def batchnorm2d_normalize(op: Op) -> list[Launch]:
    main = op.main or op
    x, *channels = (t for t in main.operands if t is not main.writes[0])
    values = (np.float32(main.attributes["eps"]),) if "eps" in main.attributes else ()
    return [_by_channel(op, main, [x], channels, values)]


@rule("batchnorm2d_dgrad")
def batchnorm2d_dgrad(op: Op) -> list[Launch]:
    dy, x, *channels = op.reads
    count = np.float32(dy.size // dy.shape[-1])
    return [_by_channel(op, op, [dy, x], channels, (count,))]


def _by_channel(
    op: Op, main: Op, pictures: list[Tensor], channels: list[Tensor], values: tuple[np.generic, ...]
) -> Launch:
    """A functor of (result, pictures..., one vector a channel...)."""
    result = op.writes[0]
    pairs = [sink(op, result, pixel_pitch)]
    pairs += [(f"In<{ctype(t)}>", (Address(t), np.int32(pixel_pitch(t)))) for t in pictures]
    pairs += [per_channel(t) for t in channels]
    columns = result.shape[-1]
    large = [*sink_tensors(op, result), *pictures]
    width = width_of_vectors([*large, *channels], columns, *(pixel_pitch(t) for t in large))
    rows = result.size // columns
    name = main.function.__name__
    more = sources_of_epilogue(op)
    return map_rows(name, "batchnorm2d", values, pairs, rows, columns, width, more)
