"""The order of a product's tiles: whether it goes in bands."""

from __future__ import annotations

BAND = 8
"""Tiles of m that share those of n while they run: `Raster` in kernels/gemm.cuh."""


def band_of(down: int, across: int, sizes: tuple[int, int], cache: int) -> int:
    """How many tiles of m a band has: some where that saves a tenth of the bytes read, or all.

    `sizes`: bytes of both operands. Down whole columns b is read once, and a for each column unless
    the cache holds it; in bands a is read once, and b for each band unless the cache holds it
    beside a band of a.
    """
    a, b = sizes
    bands = -(-down // BAND)
    by_columns = a * (across if a > cache else 1) + b
    by_bands = a + b * (bands if b + a / bands > cache else 1)
    return BAND if 10 * by_bands < 9 * by_columns else down
