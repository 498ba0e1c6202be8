"""Normalization by constants: equations in `minidl.layers.normalize`."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array
from minidl.ops.host import run_chunks
from minidl.ops.pixels import as_pixels, rows_per_chunk

Constants = float | tuple[float, ...]
"""One for all channels, or one each."""


def normalize_forward(y: Array, x: Array, *, mean: Constants, std: Constants) -> None:
    out, pixels = as_pixels(y), as_pixels(x)
    middle, scale = np.asarray(mean, y.dtype), np.asarray(1 / np.asarray(std), y.dtype)

    def chunk(rows: slice) -> None:
        part = out[rows]
        np.subtract(pixels[rows], middle, out=part)
        part *= scale

    run_chunks(chunk, len(pixels), rows_per_chunk(pixels))


def normalize_dgrad(dx: Array, dy: Array, *, mean: Constants, std: Constants) -> None:
    """dx = dy / std."""
    out, arriving = as_pixels(dx), as_pixels(dy)
    scale = np.asarray(1 / np.asarray(std), dy.dtype)
    rows = rows_per_chunk(arriving)
    run_chunks(lambda part: np.multiply(arriving[part], scale, out=out[part]), len(out), rows)
