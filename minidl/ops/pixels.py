"""An image batch as a matrix: one row a pixel, one column a channel."""

from __future__ import annotations

from minidl.ir import Array
from minidl.ops.host import CHUNK


def as_pixels(x: Array) -> Array:
    """(..., C) as (pixels, C): a view."""
    return x.reshape(-1, x.shape[-1])


def rows_per_chunk(pixels: Array) -> int:
    """Rows of one chunk: its temporaries stay in the L2 cache."""
    channels: int = pixels.shape[1]
    return max(1, CHUNK // channels)
