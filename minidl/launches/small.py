"""Launches of the small families: counters, signs, dropout, copies, losses, normalization."""

from __future__ import annotations

import math

import numpy as np

from minidl.ir import Op, Tensor
from minidl.launches.elementwise import elementwise, joined
from minidl.launches.launch import (
    Address,
    Argument,
    Launch,
    by_thread,
    constants,
    division,
    rule,
    scratch_of,
)
from minidl.launches.operands import ctype, pixel_pitch, width_of_vectors

LOSS_THREADS = 128
LOSS_SHARED = LOSS_THREADS // 32 * 4
"""Bytes: one float a warp."""
MSE_PARTS = 256


@rule("count_step")
def count_step(op: Op) -> list[Launch]:
    return [Launch("count_step", "lower", (1, 1, 1), 32, (Address(op.writes[0]),))]


@rule("concat_forward", "join_slices")
def join(op: Op) -> list[Launch]:
    axis = 0 if op.joins == 0 else -1
    return joined(op.writes[0], op.reads, axis, forward=True)


@rule("concat_dgrad", "cut_slices")
def cut(op: Op) -> list[Launch]:
    axis = 0 if op.joins == 0 else -1
    return joined(op.reads[0], op.writes, axis, forward=False)


@rule("gradient_sum")
def gradient_sum(op: Op) -> list[Launch]:
    return elementwise(op, f"gradient_sum<{ctype(op.writes[0])}>")


def _rows(t: Tensor) -> Argument:
    return np.int32(pixel_pitch(t)), division(t.shape[-1])


@rule("pack_signs")
def pack_signs(op: Op) -> list[Launch]:
    (y,) = op.reads
    width = math.gcd(8, width_of_vectors([y], y.shape[-1], pixel_pitch(y)))
    arguments = (Address(op.writes[0]), Address(y), np.int64(y.size), _rows(y))
    kernel = f"pack_signs<{ctype(y)}, {width}>"
    return [by_thread(kernel, "signs", -(-y.size // 8), arguments)]


@rule("keep_positive")
def keep_positive(op: Op) -> list[Launch]:
    (dx,), (dy, signs) = op.writes, op.reads
    width = width_of_vectors([dx, dy], dx.shape[-1], pixel_pitch(dx), pixel_pitch(dy))
    arguments = (Address(dx), Address(dy), Address(signs), np.int64(dx.size), _rows(dx), _rows(dy))
    kernel = f"keep_positive<{ctype(dx)}, {width}>"
    return [by_thread(kernel, "signs", dx.size // width, arguments)]


@rule("dropout_forward", "dropout_dgrad")
def dropout(op: Op) -> list[Launch]:
    (y,), (x, key, step) = op.writes, op.reads
    p, stream = op.attributes["p"], op.attributes["stream"]
    width = math.gcd(4, width_of_vectors([x, y], y.size))
    arguments = (
        *(Address(t) for t in (y, x, key, step)),
        np.int64(y.size),
        np.uint64(math.ceil(p * 2**32)),
        np.uint32(stream),
        np.float32(1 / (1 - p)),
    )
    kernel = f"{op.function.__name__}<{ctype(y)}, {width}>"
    return [by_thread(kernel, "dropout", -(-y.size // 4), arguments)]


@rule("normalize_forward", "normalize_dgrad")
def normalize(op: Op) -> list[Launch]:
    (y,), (x,) = op.writes, op.reads
    forward = op.phase == "forward"
    scale = np.atleast_1d(1 / np.asarray(op.attributes["std"], np.float64))
    mean = np.atleast_1d(np.asarray(op.attributes["mean"], np.float64)) * forward
    mean, scale = np.broadcast_arrays(mean, scale)
    arguments = (
        Address(y),
        Address(x),
        np.int64(y.size // y.shape[-1]),
        division(y.shape[-1]),
        np.int32(pixel_pitch(y)),
        np.int32(pixel_pitch(x)),
        tuple(np.float32(m) for m in mean),
        tuple(np.float32(s) for s in scale),
    )
    kernel = f"{op.function.__name__}<{ctype(x)}, {ctype(y)}, {len(mean)}>"
    return [by_thread(kernel, "normalize", y.size, arguments)]


def _mean(to: Tensor, parts: Tensor, count: int, scale: float) -> Launch:
    arguments = (Address(to), Address(parts), np.int32(count), np.float32(scale))
    return Launch("mean", "loss", (1, 1, 1), LOSS_THREADS, arguments, LOSS_SHARED)


@rule("softmax_cross_entropy_forward")
def softmax_cross_entropy_forward(op: Op) -> list[Launch]:
    (loss, probabilities, *_), (logits, labels) = op.writes, op.reads
    samples, classes = logits.shape
    losses = scratch_of(op)
    arguments = (
        *(Address(t) for t in (probabilities, losses, logits, labels)),
        np.int32(classes),
        np.float32(op.attributes["label_smoothing"]),
    )
    kernel = f"softmax_cross_entropy_forward<{ctype(logits)}>"
    first = Launch(kernel, "loss", (samples, 1, 1), LOSS_THREADS, arguments, LOSS_SHARED)
    return [first, _mean(loss, losses, samples, 1 / samples)]


@rule("softmax_cross_entropy_dgrad")
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
    return [by_thread(kernel, "loss", dlogits.size, arguments)]


def mse_parts(size: int) -> tuple[int, int]:
    """The number of partial sums, and the elements of one."""
    share = max(1024, -(-size // MSE_PARTS))
    return -(-size // share), share


@rule("mse_forward")
def mse_forward(op: Op) -> list[Launch]:
    (loss, *_), (prediction, target) = op.writes, op.reads
    parts, share = mse_parts(prediction.size)
    partial = scratch_of(op)
    addresses = (Address(t) for t in (partial, prediction, target))
    arguments = (*addresses, np.int64(prediction.size), np.int64(share))
    kernel = f"mse_forward<{ctype(prediction)}>"
    first = Launch(kernel, "loss", (parts, 1, 1), LOSS_THREADS, arguments, LOSS_SHARED)
    return [first, _mean(loss, partial, parts, 1 / prediction.size)]


@constants("adam_moments")
def adam_moments(op: Op) -> tuple[np.generic, ...]:
    beta1, beta2 = op.attributes["betas"]
    decay = op.attributes["weight_decay"]
    return tuple(np.float32(value) for value in (1 - beta1, beta2, 1 - beta2, decay))


@constants("adam_step")
def adam_step(op: Op) -> tuple[np.generic, ...]:
    logs = (math.log(beta) if beta else -math.inf for beta in op.attributes["betas"])
    rest = op.attributes["eps"], op.attributes["decoupled_decay"]
    return tuple(np.float32(value) for value in (*logs, *rest))
