"""Launches of the small families: counters, signs, dropout, copies, losses, normalization."""

from __future__ import annotations

import math

import numpy as np

from minidl.ir import Op, Tensor
from minidl.ops.cuda.elementwise import joined, map_tensors
from minidl.ops.cuda.launch import (
    COUNTED,
    Address,
    Argument,
    Launch,
    by_thread,
    constants,
    division,
    int32,
    rule,
    scratch_of,
    template,
)
from minidl.ops.cuda.operands import SUMMED, ctype, pixel_pitch, width_of_vectors

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


@template("gradient_sum")
def rounded_to(op: Op) -> str:
    """What each partial sum of gradients is rounded to."""
    return ctype(op.writes[0])


@rule("gradient_sum")
def gradient_sum(op: Op) -> list[Launch]:
    """Where there are many parts, the total of some, then that total and more, rounded as ever.

    The total may lie over the first two parts, which the first launch reads.
    """
    (total,), parts = op.writes, op.reads
    later = range(SUMMED, len(parts), SUMMED - 1)
    summed = [parts[:SUMMED], *((total, *parts[i : i + SUMMED - 1]) for i in later)]
    return [map_tensors(op, [("Out", total), *(("In", t) for t in some)]) for some in summed]


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


@rule("pack_signs")
def pack_signs(op: Op) -> list[Launch]:
    (signs,), (y,) = op.writes, op.reads
    columns, pitch = y.shape[-1], pixel_pitch(y)
    width = math.gcd(8, width_of_vectors([y], columns, pitch))
    kernel = f"pack_signs<{ctype(y)}, {width}>"

    def launch(first: int, rows: int, counted: int) -> Launch:
        size = rows * columns
        places = Address(signs, first * columns // 8), Address(y, first * pitch)
        arguments = (*places, np.int64(size), _rows(y))
        return by_thread(kernel, "signs", -(-size // 8), arguments, counted=counted)

    return [launch(*chunk) for chunk in _chunks(y)]


@rule("keep_positive")
def keep_positive(op: Op) -> list[Launch]:
    (dx,), (dy, signs) = op.writes, op.reads
    columns, pitches = dx.shape[-1], (pixel_pitch(dx), pixel_pitch(dy))
    width = width_of_vectors([dx, dy], columns, *pitches)
    kernel = f"keep_positive<{ctype(dx)}, {width}>"

    def launch(first: int, rows: int, counted: int) -> Launch:
        size, gaps = rows * columns, zip((dx, dy), pitches, strict=True)
        pictures = (Address(t, first * pitch) for t, pitch in gaps)
        places = (*pictures, Address(signs, first * columns // 8))
        arguments = (*places, np.int64(size), _rows(dx), _rows(dy))
        return by_thread(kernel, "signs", size // width, arguments, counted=counted)

    return [launch(*chunk) for chunk in _chunks(dx, dy)]


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
    return [by_thread(kernel, "dropout", -(-y.size // 4), arguments, counted=0)]


NORMALIZED = 256
"""Channels that one launch normalises, each with two constants among the parameters."""


@rule("normalize_forward", "normalize_dgrad")
def normalize(op: Op) -> list[Launch]:
    (y,), (x,) = op.writes, op.reads
    forward = op.phase == "forward"
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
        return by_thread(kernel, "normalize", rows * wide, arguments)

    return [launch(first) for first in range(0, columns, each)]


def _mean(to: Tensor, parts: Tensor, count: int, scale: float) -> Launch:
    arguments = (Address(to), Address(parts), int32(count), np.float32(scale))
    return Launch("mean", "loss", (1, 1, 1), LOSS_THREADS, arguments, LOSS_SHARED)


@rule("softmax_cross_entropy_forward")
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
