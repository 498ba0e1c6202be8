"""Launches of bias gradients."""

from __future__ import annotations

import numpy as np

from minidl.ir import Op
from minidl.ops import reduction as ops
from minidl.ops.cuda.launch import Address, Argument, CppFile, Launch, division
from minidl.ops.cuda.operands import pixel_pitch
from minidl.ops.cuda.pooled import Unpooling
from minidl.ops.cuda.reduce import reduce_rows
from minidl.ops.cuda.rules import rule

FILE = CppFile("reduction.cu")


@rule(ops.bias_wgrad, file=FILE)
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
