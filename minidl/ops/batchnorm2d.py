"""Batch normalization: equations in `minidl.layers.batchnorm2d`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.ir import Array, How, Op, Takes
from minidl.ir.op import Finish
from minidl.ops.host import run_chunks
from minidl.ops.pixels import as_pixels, rows_per_chunk
from minidl.ops.target import on_host
from minidl.options import Options

PARTS = 64
"""Partial statistics at most, each over consecutive pixels."""
ROWS = 512
"""Pixels of one plain sum at most: its rounding errors grow with them."""


def batchnorm2d_statistics(
    mean: Array,
    inv_std: Array,
    running_mean: Array,
    running_var: Array,
    num_batches_tracked: Array,
    scratch: Array,
    x: Array,
    *,
    eps: float,
    momentum: float,
) -> None:
    """Mean and 1 / sqrt(var + eps) of the batch; the running statistics move towards them."""
    pixels = as_pixels(x)
    count, var = len(pixels), inv_std
    _statistics(mean, var, scratch, pixels)
    for running, now, unbias in (
        (running_mean, mean, 1.0),
        (running_var, var, count / (count - 1)),
    ):
        running *= 1 - momentum
        running += now * (momentum * unbias)
    np.add(num_batches_tracked, 1, out=num_batches_tracked)
    _invert(inv_std, var, eps)


def batchnorm2d_normalize(
    y: Array,
    x: Array,
    mean: Array,
    inv_std: Array,
    gamma: Array,
    beta: Array,
    finish: Finish | None = None,
) -> None:
    """y = (x - mean) inv_std gamma + beta: the same bits whenever it runs."""
    _normalize(y, x, mean, inv_std * gamma, beta, finish)


def batchnorm2d_inference(
    y: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array,
    running_var: Array,
    *,
    eps: float,
) -> None:
    scale = np.empty_like(running_var)
    _invert(scale, running_var, eps)
    _normalize(y, x, running_mean, scale * gamma, beta)


def batchnorm2d_wgrad(
    dgamma: Array,
    dbeta: Array,
    scratch: Array,
    dy: Array,
    x: Array,
    mean: Array,
    inv_std: Array,
) -> None:
    arriving, pixels = as_pixels(dy), as_pixels(x)
    _, share, (sums, products) = _parts(pixels, scratch)

    def part(rows: slice) -> None:
        index = rows.start // share
        sums[index] = products[index] = 0
        for chunk in _chunks(rows, pixels):
            sums[index] += np.add.reduce(arriving[chunk], axis=0)
            product = pixels[chunk] - mean
            product *= arriving[chunk]
            products[index] += np.add.reduce(product, axis=0)

    run_chunks(part, len(pixels), share)
    np.add.reduce(sums, axis=0, out=dbeta)
    np.add.reduce(products, axis=0, out=dgamma)
    dgamma *= inv_std


def batchnorm2d_dgrad(
    dx: Array,
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    inv_std: Array,
    dgamma: Array,
    dbeta: Array,
) -> None:
    gradient, arriving, pixels = as_pixels(dx), as_pixels(dy), as_pixels(x)
    slope, offset, scale = inv_std * dgamma / len(pixels), dbeta / len(pixels), gamma * inv_std

    def chunk(rows: slice) -> None:
        inner = pixels[rows] - mean
        inner *= slope
        inner += offset
        np.subtract(arriving[rows], inner, out=inner)
        np.multiply(inner, scale, out=gradient[rows])

    run_chunks(chunk, len(pixels), rows_per_chunk(pixels))


def _chunks(rows: slice, pixels: Array) -> Iterator[slice]:
    step = min(ROWS, rows_per_chunk(pixels))
    return (slice(i, min(rows.stop, i + step)) for i in range(rows.start, rows.stop, step))


def _parts(pixels: Array, scratch: Array) -> tuple[Array, int, Array]:
    """Cut the pixels into at most `PARTS` parts: their sizes (parts, 1), the rows of each but the
    last, and for each two vectors of C in `scratch`: (2, parts, C)."""
    count, channels = pixels.shape
    share = max(-(-count // PARTS), min(ROWS, rows_per_chunk(pixels)))
    starts = np.arange(0, count, share)
    sizes = np.minimum(share, count - starts).astype(pixels.dtype)[:, None]
    room = scratch[: 2 * len(starts) * channels]
    return sizes, share, room.reshape(2, len(starts), channels)


def _statistics(mean: Array, var: Array, scratch: Array, pixels: Array) -> None:
    """Mean and biased variance of each column, from those of the parts; NaN both where the mean is
    not finite."""
    sizes, share, (means, squares) = _parts(pixels, scratch)

    def part(rows: slice) -> None:
        index, seen = rows.start // share, 0
        means[index] = squares[index] = 0
        for chunk in _chunks(rows, pixels):
            _merge(means[index], squares[index], seen, pixels[chunk])
            seen += chunk.stop - chunk.start

    run_chunks(part, len(pixels), share)
    weights = sizes / len(pixels)
    np.add.reduce(means * weights, axis=0, out=mean)
    means -= mean
    np.square(means, out=means)
    means *= weights
    np.add.reduce(squares, axis=0, out=var)
    var /= len(pixels)
    var += np.add.reduce(means, axis=0)
    lost = ~np.isfinite(mean)
    mean[lost] = var[lost] = np.nan


def _merge(mean: Array, square: Array, seen: int, values: Array) -> None:
    """Take `values` into the mean of `seen` rows and their sum of squared deviations."""
    count = len(values)
    own = np.add.reduce(values, axis=0)
    own /= count
    deviations = values - own
    np.square(deviations, out=deviations)
    square += np.add.reduce(deviations, axis=0)
    if not seen:  # the square of a large mean overflows, and infinity times 0 is NaN
        mean[...] = own
        return
    own -= mean
    mean += own * (count / (seen + count))
    square += np.square(own) * (seen * count / (seen + count))


def _invert(inv_std: Array, var: Array, eps: float) -> None:
    """inv_std = 1 / sqrt(var + eps); the two may be the same memory."""
    np.add(var, eps, out=inv_std)
    np.sqrt(inv_std, out=inv_std)
    np.reciprocal(inv_std, out=inv_std)


def _normalize(
    y: Array,
    x: Array,
    mean: Array,
    scale: Array,
    shift: Array,
    finish: Finish | None = None,
) -> None:
    """y = (x - mean) scale + shift, column by column."""
    out, pixels = as_pixels(y), as_pixels(x)

    def chunk(rows: slice) -> None:
        part = out[rows]
        np.subtract(pixels[rows], mean, out=part)
        part *= scale
        part += shift
        if finish is not None:
            finish(part)

    run_chunks(chunk, len(pixels), rows_per_chunk(pixels))


@on_host(batchnorm2d_statistics, batchnorm2d_wgrad)
def _sums(op: Op, _: Options) -> How:
    """Partial sums of two values a channel."""
    return How(scratch=2 * PARTS * op.writes[0].size)


@on_host(batchnorm2d_normalize)
def _normalized(_op: Op, _: Options) -> How:
    return How(takes=Takes(finishes=True))
