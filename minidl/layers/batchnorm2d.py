"""Batch normalization of NHWC pictures, channel by channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minidl.host import run_chunks
from minidl.ir import Array, Shape, ShapeError, Site, Tensor
from minidl.ir.op import Finish
from minidl.launches.reductions import GRADIENTS, MOMENTS, partial_floats
from minidl.layers.base import Layer, require_rank
from minidl.layers.initial import constant
from minidl.layers.pixels import as_pixels, rows_per_chunk

PARTS = 64
"""Partial statistics at most, each over consecutive pixels."""
ROWS = 512
"""Pixels of one plain sum at most: its rounding errors grow with them."""


@dataclass(frozen=True, eq=False)
class BatchNorm2d(Layer):
    """y = (x - mean) / sqrt(var + eps) * weight + bias for each channel; x (N,H,W,C).

    Training: mean and (biased) variance over the M = N H W pixels of the batch; running_mean and
    running_var move by `momentum` towards the mean and the unbiased variance. With
    z = (x - mean) / sqrt(var + eps): dbias = sum dy, dweight = sum dy z,
    dx = weight / sqrt(var + eps) (dy - dbias / M - z dweight / M).
    Inference: the running statistics take the place of the batch's.

    Ioffe, Szegedy 2015. The variance is of two passes over each part of the batch, and parts are
    merged as in Chan, Golub, LeVeque 1979: a large mean does not cancel it.
    """

    couples_samples = True
    eps: float = 1e-5
    momentum: float = 0.1

    def output_shape(self, *inputs: Shape) -> Shape:
        require_rank(4, inputs[0], "(batch, height, width, channels)")
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        channels = x.shape[3:]
        gamma = site.parameter("weight", channels, constant(1.0))
        beta = site.parameter("bias", channels, constant(0.0))
        mean = site.state("running_mean", channels)
        var = site.state("running_var", channels, constant(1.0))
        batches = site.state("num_batches_tracked", (), dtype="int64")
        if site.lowering.training:
            self._train(site, x, y, gamma, beta, (mean, var, batches))
        else:
            site.forward(
                batchnorm2d_inference,
                writes=[y],
                reads=[x, gamma, beta, mean, var],
                in_place=((0, 0),),
                attributes={"eps": self.eps},
                flops=4 * y.size,
            )
        return y

    def _train(
        self, site: Site, x: Tensor, y: Tensor, gamma: Tensor, beta: Tensor, running: Running
    ) -> None:
        n, h, w, c = x.shape
        if n * h * w < 2:
            raise ShapeError(
                "needs at least 2 values per channel (batch x height x width) to train"
            )
        mean, inv_std = site.mask((c,), "mean"), site.mask((c,), "inv_std")
        dy, dgamma, dbeta = site.gradient(y), site.gradient(gamma), site.gradient(beta)
        site.forward(
            batchnorm2d_statistics,
            writes=[
                *(mean, inv_std, *running),
                *site.host_scratch(2 * PARTS * c),
                *site.device_scratch(partial_floats(n * h * w, c, MOMENTS)),
            ],
            reads=[x, *running],
            attributes={"eps": self.eps, "momentum": self.momentum},
            flops=4 * y.size,
            pitched=True,
        )
        site.forward(
            batchnorm2d_normalize,
            writes=[y],
            reads=[x, mean, inv_std, gamma, beta],
            in_place=((0, 0),),
            flops=4 * y.size,
            pitched=True,
            cheap=True,
            finishes=True,
        )
        site.wgrad(
            batchnorm2d_wgrad,
            writes=[
                *(dgamma, dbeta),
                *site.host_scratch(2 * PARTS * c),
                *site.device_scratch(partial_floats(n * h * w, c, GRADIENTS)),
            ],
            reads=[dy, x, mean, inv_std],
            flops=4 * y.size,
            pitched=True,
        )
        site.dgrad(
            batchnorm2d_dgrad,
            writes=[site.gradient(x)],
            reads=[dy, x, gamma, mean, inv_std, dgamma, dbeta],
            in_place=((0, 0), (0, 1)),
            flops=5 * y.size,
            pitched=True,
        )


Running = tuple[Tensor, Tensor, Tensor]
"""running_mean, running_var, num_batches_tracked."""


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
