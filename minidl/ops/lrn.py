"""Local response normalization: equations in `minidl.layers.lrn`."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array
from minidl.ops.host import run_chunks
from minidl.ops.pixels import as_pixels, rows_per_chunk


def lrn_forward(y: Array, x: Array, *, size: int, alpha: float, beta: float, k: float) -> None:
    out, pixels = as_pixels(y), as_pixels(x)

    def chunk(rows: slice) -> None:
        scale = _scale(pixels[rows], size, alpha, k)
        np.power(scale, -beta, out=scale)
        np.multiply(pixels[rows], scale, out=out[rows])

    run_chunks(chunk, len(pixels), rows_per_chunk(pixels))


def lrn_dgrad(
    dx: Array, dy: Array, x: Array, *, size: int, alpha: float, beta: float, k: float
) -> None:
    gradient, arriving, pixels = as_pixels(dx), as_pixels(dy), as_pixels(x)

    def chunk(rows: slice) -> None:
        scale = _scale(pixels[rows], size, alpha, k)
        direct = np.power(scale, -beta)
        direct *= arriving[rows]
        through_scale = direct * pixels[rows]
        through_scale /= scale
        total = _neighbour_sum(through_scale, (size - 1) // 2, size // 2)
        total *= pixels[rows]
        total *= 2 * alpha * beta / size
        np.subtract(direct, total, out=gradient[rows])

    run_chunks(chunk, len(pixels), rows_per_chunk(pixels))


def _scale(x: Array, size: int, alpha: float, k: float) -> Array:
    scale = _neighbour_sum(np.square(x), size // 2, (size - 1) // 2)
    scale *= alpha / size
    scale += k
    return scale


def _neighbour_sum(values: Array, before: int, after: int) -> Array:
    """For each channel the sum from `before` channels before it to `after` channels after it."""
    total, channels = values.copy(), values.shape[1]
    for shift in range(1, min(before, channels - 1) + 1):
        total[:, shift:] += values[:, :-shift]
    for shift in range(1, min(after, channels - 1) + 1):
        total[:, :-shift] += values[:, shift:]
    return total
