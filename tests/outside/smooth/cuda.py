"""How the ops run on CUDA: the kernels are in smooth.cu beside this file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl.ir import How, Op
from minidl.ops.cuda import (
    Address,
    CppFile,
    Launch,
    by_channel,
    functor,
    partial_floats,
    reduce_rows,
    rule,
)
from minidl.options import Options
from tests.outside.smooth import functions as ops

FILE = CppFile("smooth.cu", Path(__file__).parent)

functor(ops.softplus_forward, ops.softplus_dgrad, file=FILE)


@rule(ops.swish_forward, ops.swish_dgrad, file=FILE)
def swish(op: Op) -> list[Launch]:
    *images, beta = op.reads
    return [by_channel(op, images, [beta])]


def _partial_sums(op: Op, _: Options) -> How:
    x, beta = op.reads[1:]
    return How(scratch=partial_floats(x.size // beta.size, beta.size))


@rule(ops.swish_wgrad, file=FILE, how=_partial_sums)
def swish_wgrad(op: Op) -> list[Launch]:
    (dbeta, *_), (dy, x, beta) = op.writes, op.reads
    source = (*(Address(t) for t in (dy, x, beta)), np.int64(beta.size))
    return reduce_rows(op, dy, source, (Address(dbeta),))
