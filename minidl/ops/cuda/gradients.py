"""Launches between gradients and updates: squares, the norm, clipping, sums over calls."""

from __future__ import annotations

import numpy as np

from minidl.ir import How, Op, Takes
from minidl.ops import gradients as ops
from minidl.ops.cuda.elementwise import map_rows
from minidl.ops.cuda.launch import THREADS, Address, CppFile, Launch, int32, scratch_of
from minidl.ops.cuda.operands import (
    ctype,
    operand,
    pixel_pitch,
    sink,
    sink_tensors,
    sources_of_epilogue,
    width_of_vectors,
)
from minidl.ops.cuda.rules import functor, functor_name, rule, source_of
from minidl.options import Options

FILE = CppFile("gradients.cu")

PARTS = 1024
"""Partial sums of one weight gradient at most."""
LEAST_ELEMENTS = 8192
"""Of a part."""
SHARED = THREADS // 32 * 4
"""Bytes: one float a warp."""


def square_parts(size: int) -> tuple[int, int]:
    """The number of partial sums of squares, and the elements of one."""
    share = max(LEAST_ELEMENTS, -(-size // PARTS))
    return -(-size // share), share


def _square_parts(op: Op, _: Options) -> How:
    return How(scratch=square_parts(op.reads[0].size)[0])


@rule(ops.sum_of_squares, file=FILE, how=_square_parts)
def sum_of_squares(op: Op) -> list[Launch]:
    square, (dw,) = op.writes[0], op.reads
    parts, share = square_parts(dw.size)
    partial = scratch_of(op)
    arguments = (Address(partial), Address(dw), np.int64(dw.size), np.int64(share))
    total = (Address(square), Address(partial), int32(parts))
    source = source_of(op)
    kernel, grid, access = f"sum_of_squares<{ctype(dw)}>", (parts, 1, 1), dw.itemsize
    return [
        Launch(kernel, source, grid, THREADS, arguments, SHARED, access=access),
        Launch("total_of_parts", source, (1, 1, 1), THREADS, total, SHARED),
    ]


@rule(ops.gradient_norm, file=FILE)
def gradient_norm(op: Op) -> list[Launch]:
    (norm, coefficient), (squares,) = op.writes, op.reads
    addresses = (Address(t) for t in (norm, coefficient, squares))
    arguments = (*addresses, int32(squares.size), np.float32(op.attributes["clip_norm"]))
    return [Launch("gradient_norm", source_of(op), (1, 1, 1), THREADS, arguments, SHARED)]


def _clipped(_op: Op, _: Options) -> How:
    return How(takes=Takes(tiled=0))


@rule(ops.clip_gradient, file=FILE, how=_clipped)
def clip_gradient(op: Op) -> list[Launch]:
    main = op.original
    (clipped,), (dw, coefficient) = main.writes, main.reads
    pairs = [sink(op, clipped, pixel_pitch)]
    pairs += [operand(main, t, pixel_pitch) for t in (dw, coefficient)]
    width = width_of_vectors([dw, *sink_tensors(op, clipped)], dw.size)
    name, more = functor_name(main), sources_of_epilogue(op)
    return [map_rows(name, source_of(main), (), pairs, 1, dw.size, width, more)]


def _share(op: Op) -> tuple[np.generic, ...]:
    return (np.float32(1 / op.attributes["calls"]),)


functor(ops.accumulate_gradient, file=FILE, constants=_share)
