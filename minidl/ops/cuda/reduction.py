"""Launches of bias gradients."""

from __future__ import annotations

import numpy as np

from minidl.ir import How, Op, Takes
from minidl.ops import reduction as ops
from minidl.ops.cuda.launch import Address, Argument, CppFile, Launch, division
from minidl.ops.cuda.operands import pixel_pitch
from minidl.ops.cuda.pooled import Unpooling
from minidl.ops.cuda.reduce import partial_floats, reduce_rows
from minidl.ops.cuda.rules import rule
from minidl.options import Options

FILE = CppFile("reduction.cu")


def _how(op: Op, _: Options) -> How:
    """Of images it takes a pool's gradient in, as the convolution's own gradients do."""
    dy, columns = op.reads[0], op.writes[0].size
    inlines = 0 if len(dy.shape) == 4 and columns % 4 == 0 else None
    return How(scratch=partial_floats(dy.size // columns, columns), takes=Takes(inlines=inlines))


@rule(ops.bias_wgrad, file=FILE, how=_how)
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
