"""Launches of batch normalization."""

from __future__ import annotations

import numpy as np

from minidl.ir import How, Op, Takes
from minidl.ops import batchnorm2d as ops
from minidl.ops.cuda.elementwise import by_channel
from minidl.ops.cuda.launch import Address, CppFile, Launch
from minidl.ops.cuda.operands import pixel_pitch
from minidl.ops.cuda.reduce import GRADIENTS, MOMENTS, partial_floats, reduce_rows
from minidl.ops.cuda.rules import rule
from minidl.options import Options

FILE = CppFile("batchnorm2d.cu")


def _sums(op: Op, floats: int) -> How:
    """Partial accumulators of `floats` each, over the pixels of the first tensor that is read."""
    image, channels = op.reads[0], op.reads[0].shape[-1]
    return How(scratch=partial_floats(image.size // channels, channels, floats))


def _moments(op: Op, _: Options) -> How:
    return _sums(op, MOMENTS)


def _gradients(op: Op, _: Options) -> How:
    return _sums(op, GRADIENTS)


def _normalized(op: Op, _: Options) -> How:
    return How(takes=Takes(finishes=op.function is ops.batchnorm2d_normalize))


@rule(ops.batchnorm2d_statistics, file=FILE, how=_moments)
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


@rule(ops.batchnorm2d_wgrad, file=FILE, how=_gradients)
def batchnorm2d_wgrad(op: Op) -> list[Launch]:
    (dgamma, dbeta, *_), (dy, x, mean, inv_std) = op.writes, op.reads
    pitches = np.int64(pixel_pitch(dy)), np.int64(pixel_pitch(x))
    source = (Address(dy), Address(x), Address(mean), *pitches)
    to = (Address(dgamma), Address(dbeta), Address(inv_std))
    return reduce_rows(op, dy, source, to, GRADIENTS)


@rule(ops.batchnorm2d_normalize, ops.batchnorm2d_inference, file=FILE, how=_normalized)
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
