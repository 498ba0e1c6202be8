"""Launches of packed signs: see kernels/signs.cu."""

from __future__ import annotations

import math

import numpy as np

from minidl.ir import Op, Tensor
from minidl.ops import signs as ops
from minidl.ops.cuda.launch import (
    COUNTED,
    Address,
    Argument,
    CppFile,
    Launch,
    by_thread,
    division,
    int32,
)
from minidl.ops.cuda.operands import ctype, pixel_pitch, width_of_vectors
from minidl.ops.cuda.rules import rule

FILE = CppFile("signs.cu")


def _rows(t: Tensor) -> Argument:
    return int32(pixel_pitch(t)), division(t.shape[-1])


def _chunks(*tensors: Tensor) -> list[tuple[int, int, int]]:
    """First row, rows, and what is counted in 31 bits, launch by launch: without gaps nothing is
    and one is enough. A chunk is whole 8 rows, so that its signs begin with a byte."""
    t = tensors[0]
    columns = t.shape[-1]
    rows = t.size // columns
    if all(t.contiguous for t in tensors):
        return [(0, rows, 0)]
    most = rows if t.size <= COUNTED else max(8, COUNTED // columns // 8 * 8)
    firsts = range(0, rows, most)
    return [(first, n, n * columns) for first in firsts for n in [min(most, rows - first)]]


@rule(ops.pack_signs, file=FILE)
def pack_signs(op: Op) -> list[Launch]:
    (signs,), (y,) = op.writes, op.reads
    columns, pitch = y.shape[-1], pixel_pitch(y)
    width = math.gcd(8, width_of_vectors([y], columns, pitch))
    kernel = f"pack_signs<{ctype(y)}, {width}>"

    def launch(first: int, rows: int, counted: int) -> Launch:
        size = rows * columns
        places = Address(signs, first * columns // 8), Address(y, first * pitch)
        arguments = (*places, np.int64(size), _rows(y))
        return by_thread(kernel, FILE, -(-size // 8), arguments, counted=counted)

    return [launch(*chunk) for chunk in _chunks(y)]


@rule(ops.keep_positive, file=FILE)
def keep_positive(op: Op) -> list[Launch]:
    (dx,), (dy, signs) = op.writes, op.reads
    columns, pitches = dx.shape[-1], (pixel_pitch(dx), pixel_pitch(dy))
    width = width_of_vectors([dx, dy], columns, *pitches)
    kernel = f"keep_positive<{ctype(dx)}, {width}>"

    def launch(first: int, rows: int, counted: int) -> Launch:
        size, gaps = rows * columns, zip((dx, dy), pitches, strict=True)
        images = (Address(t, first * pitch) for t, pitch in gaps)
        places = (*images, Address(signs, first * columns // 8))
        arguments = (*places, np.int64(size), _rows(dx), _rows(dy))
        return by_thread(kernel, FILE, size // width, arguments, counted=counted)

    return [launch(*chunk) for chunk in _chunks(dx, dy)]
