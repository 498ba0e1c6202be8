"""A source of small encoded images, decoded once and kept."""

from __future__ import annotations

import numpy as np

from minidl.data.decode import decode
from minidl.data.source import SOURCE, Arrays, Source
from minidl.ir import ArgumentError, Array, ShapeError, format_size
from minidl.ir.calls import called
from minidl.ir.readers import COUNT

KEPT = 4 * 2**30
"""The most bytes of decoded images."""


@called(readers={"source": SOURCE, "limit": COUNT})
def decoded(source: Source, *, limit: int = KEPT) -> Arrays:
    """All images (N, H, W, 3) uint8 in memory, for images that train faster than they decode.

    ShapeError where sizes differ, ArgumentError beyond `limit` bytes, BrokenImageError for a
    image that cannot be decoded.
    """
    first = _pixels(source, 0)
    size = len(source) * first.nbytes
    if size > limit:
        raise ArgumentError(
            f"{len(source):,} images of {first.shape} are {format_size(size)}, more than "
            f"{format_size(limit)}",
            "leave them encoded, and give the loader workers",
        )
    images = np.empty((len(source), *first.shape), first.dtype)
    for index in range(len(source)):
        pixels = _pixels(source, index)
        if pixels.shape != first.shape:
            raise ShapeError(f"{source.name(index)}: {pixels.shape} among {first.shape}")
        images[index] = pixels
    return Arrays(images, source.labels, source.classes)


def _pixels(source: Source, index: int) -> Array:
    read = source.read(index)
    return decode(read, source.name(index)) if isinstance(read, bytes) else read
