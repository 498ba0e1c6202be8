"""Sums over the rows of a matrix, in a fixed order: the gradient of every bias."""

from __future__ import annotations

import numpy as np

from minidl.host import run_chunks
from minidl.ir import Array, Site, Tensor
from minidl.launches.reductions import partial_floats
from minidl.layers.pixels import as_pixels

PARTS = 64
"""Partial sums: rounding errors grow with rows / PARTS + PARTS instead of with rows."""


def column_sums(out: Array, scratch: Array, matrix: Array) -> None:
    """out[c] = sum over rows of matrix[row, c], by at most `PARTS` partial sums in `scratch`."""
    rows, columns = matrix.shape
    share = -(-rows // PARTS)
    parts = scratch[: -(-rows // share) * columns].reshape(-1, columns)

    def part(chunk: slice) -> None:
        np.add.reduce(matrix[chunk], axis=0, out=parts[chunk.start // share])

    run_chunks(part, rows, share)
    np.add.reduce(parts, axis=0, out=out)


def bias_wgrad(db: Array, scratch: Array, dy: Array) -> None:
    """db[k] = sum over samples and pixels of dy[..., k]."""
    column_sums(db, scratch, as_pixels(dy))


def add_bias_wgrad(site: Site, bias: Tensor, y: Tensor, inlines: int | None = None) -> None:
    """State at `site` the gradient of a bias added to every pixel or row of `y`."""
    parts = site.device_scratch(partial_floats(y.size // bias.size, bias.size))
    site.wgrad(
        bias_wgrad,
        writes=[site.gradient(bias), *site.host_scratch(PARTS * bias.size), *parts],
        reads=[site.gradient(y)],
        flops=y.size,
        pitched=True,
        inlines=inlines,
    )
