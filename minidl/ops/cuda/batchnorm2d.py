"""Launches of batch normalization."""

from __future__ import annotations

import numpy as np

from minidl.ir import Op
from minidl.ops import batchnorm2d as ops
from minidl.ops.cuda.elementwise import by_channel
from minidl.ops.cuda.launch import Address, CppFile, Launch
from minidl.ops.cuda.operands import pixel_pitch
from minidl.ops.cuda.reduce import GRADIENTS, MOMENTS, reduce_rows
from minidl.ops.cuda.rules import rule

FILE = CppFile("batchnorm2d.cu")


@rule(ops.batchnorm2d_statistics, file=FILE)
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


@rule(ops.batchnorm2d_wgrad, file=FILE)
def batchnorm2d_wgrad(op: Op) -> list[Launch]:
    (dgamma, dbeta, *_), (dy, x, mean, inv_std) = op.writes, op.reads
    pitches = np.int64(pixel_pitch(dy)), np.int64(pixel_pitch(x))
    source = (Address(dy), Address(x), Address(mean), *pitches)
    to = (Address(dgamma), Address(dbeta), Address(inv_std))
    return reduce_rows(op, dy, source, to, GRADIENTS)


@rule(ops.batchnorm2d_normalize, ops.batchnorm2d_inference, file=FILE)
def batchnorm2d_normalize(op: Op) -> list[Launch]:
    main = op.original
    x, *channels = (t for t in main.operands if t is not main.writes[0])
    values = (np.float32(main.attributes["eps"]),) if "eps" in main.attributes else ()
    return [by_channel(op, [x], channels, values)]


@rule(ops.batchnorm2d_dgrad, file=FILE)
def batchnorm2d_dgrad(op: Op) -> list[Launch]:
    dy, x, *channels = op.reads
    count = np.float32(dy.size // dy.shape[-1])
    return [by_channel(op, [dy, x], channels, (count,))]
