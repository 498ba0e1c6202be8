"""Launches of normalization by constants."""

from __future__ import annotations

import numpy as np

from minidl.ir import Op
from minidl.ops import normalize as ops
from minidl.ops.cuda.launch import Address, CppFile, Launch, by_thread, division, int32
from minidl.ops.cuda.operands import ctype, pixel_pitch
from minidl.ops.cuda.rules import rule

FILE = CppFile("normalize.cu")


NORMALIZED = 256
"""Channels that one launch normalises, each with two constants among the parameters."""


@rule(ops.normalize_forward, ops.normalize_dgrad, file=FILE)
def normalize(op: Op) -> list[Launch]:
    (y,), (x,) = op.writes, op.reads
    forward = op.function is ops.normalize_forward  # in the backward pass too, where it runs again
    scale = np.atleast_1d(1 / np.asarray(op.attributes["std"], np.float64))
    mean = np.atleast_1d(np.asarray(op.attributes["mean"], np.float64)) * forward
    mean, scale = np.broadcast_arrays(mean, scale)
    columns = y.shape[-1]
    rows, each = y.size // columns, columns if len(mean) == 1 else NORMALIZED

    def launch(first: int) -> Launch:
        some, wide = slice(first, first + each), min(each, columns - first)
        constants = [tuple(np.float32(value) for value in of[some]) for of in (mean, scale)]
        arguments = (
            Address(y, first),
            Address(x, first),
            np.int64(rows),
            division(wide),
            int32(pixel_pitch(y)),
            int32(pixel_pitch(x)),
            *constants,
        )
        kernel = f"{op.function.__name__}<{ctype(x)}, {ctype(y)}, {len(constants[0])}>"
        return by_thread(kernel, FILE, rows * wide, arguments)

    return [launch(first) for first in range(0, columns, each)]
