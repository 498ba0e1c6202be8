"""Launches of losses."""

from __future__ import annotations

import numpy as np

from minidl.ir import How, Op, Tensor
from minidl.ops import loss as ops
from minidl.ops.cuda.launch import Address, CppFile, Launch, by_thread, division, int32, scratch_of
from minidl.ops.cuda.operands import ctype
from minidl.ops.cuda.rules import functor, rule
from minidl.options import Options

FILE = CppFile("loss.cu")

LOSS_THREADS = 128
LOSS_SHARED = LOSS_THREADS // 32 * 4
"""Bytes: one float a warp."""
MSE_PARTS = 256


def _mean(to: Tensor, parts: Tensor, count: int, scale: float) -> Launch:
    arguments = (Address(to), Address(parts), int32(count), np.float32(scale))
    return Launch("mean", FILE, (1, 1, 1), LOSS_THREADS, arguments, LOSS_SHARED)


def _losses(op: Op, _: Options) -> How:
    """One a sample."""
    return How(scratch=op.reads[0].shape[0])


@rule(ops.softmax_cross_entropy_forward, file=FILE, how=_losses)
def softmax_cross_entropy_forward(op: Op) -> list[Launch]:
    (loss, probabilities, *_), (logits, labels) = op.writes, op.reads
    samples, classes = logits.shape
    losses = scratch_of(op)
    arguments = (
        *(Address(t) for t in (probabilities, losses, logits, labels)),
        int32(classes),
        np.float32(op.attributes["label_smoothing"]),
    )
    kernel = f"softmax_cross_entropy_forward<{ctype(logits)}>"
    first = Launch(kernel, FILE, (samples, 1, 1), LOSS_THREADS, arguments, LOSS_SHARED)
    return [first, _mean(loss, losses, samples, 1 / samples)]


@rule(ops.softmax_cross_entropy_dgrad, file=FILE)
def softmax_cross_entropy_dgrad(op: Op) -> list[Launch]:
    (dlogits,), (probabilities, labels) = op.writes, op.reads
    (samples, classes), smoothing = dlogits.shape, op.attributes["label_smoothing"]
    arguments = (
        *(Address(t) for t in (dlogits, probabilities, labels)),
        np.int64(dlogits.size),
        division(classes),
        np.float32(smoothing / classes),
        np.float32(1 - smoothing),
        np.float32(samples),
    )
    kernel = f"softmax_cross_entropy_dgrad<{ctype(dlogits)}>"
    return [by_thread(kernel, FILE, dlogits.size, arguments)]


def mse_parts(size: int) -> tuple[int, int]:
    """The number of partial sums, and the elements of one."""
    share = max(1024, -(-size // MSE_PARTS))
    return -(-size // share), share


def _mse_parts(op: Op, _: Options) -> How:
    return How(scratch=mse_parts(op.reads[0].size)[0])


@rule(ops.mse_forward, file=FILE, how=_mse_parts)
def mse_forward(op: Op) -> list[Launch]:
    (loss, *_), (prediction, target) = op.writes, op.reads
    parts, share = mse_parts(prediction.size)
    partial = scratch_of(op)
    addresses = (Address(t) for t in (partial, prediction, target))
    arguments = (*addresses, np.int64(prediction.size), np.int64(share))
    kernel = f"mse_forward<{ctype(prediction)}>"
    first = Launch(kernel, FILE, (parts, 1, 1), LOSS_THREADS, arguments, LOSS_SHARED)
    return [first, _mean(loss, partial, parts, 1 / prediction.size)]


functor(ops.mse_dgrad, file=FILE)
