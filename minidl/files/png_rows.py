"""Whether a PNG has all its rows: decoders leave those that are missing black, and say nothing.

Layout: W3C, *Portable Network Graphics Specification*, third edition, sections 5 (chunks), 8.1
(interlacing) and 9 (a byte for the filter in front of each row).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the colour type."""

PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
    (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
"""Of Adam7: the first column and row, and the steps to the next."""

PIECE = 2**20
"""Bytes that are unpacked at once."""


def has_all_rows(raw: bytes) -> bool:
    """Whether the image data of a PNG unpacks to as many bytes as its header says; its pixels are
    not made. `raw` is one that a decoder has taken."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", raw[16:29])
    bits = depth * CHANNELS[colour]
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    left = sum(_bytes_of(width, height, bits, *each) for each in passes)
    for size in _unpacked(raw):
        left -= size
        if left <= 0:
            return True
    return False


def _bytes_of(width: int, height: int, bits: int, x: int, y: int, right: int, down: int) -> int:
    """Of one pass: none where it has no pixel."""
    columns, rows = -(-max(0, width - x) // right), -(-max(0, height - y) // down)
    return rows * (1 + -(-columns * bits // 8)) if columns else 0


def _unpacked(raw: bytes) -> Iterator[int]:
    """How many bytes come out of the IDAT chunks, a piece at a time."""
    unpacker = zlib.decompressobj()
    for packed in _image_data(raw):
        rest = packed
        while rest and not unpacker.eof:
            try:
                yield len(unpacker.decompress(rest, PIECE))
            except zlib.error:
                return
            rest = unpacker.unconsumed_tail


def _image_data(raw: bytes) -> Iterator[bytes]:
    """The IDAT chunks, which stand side by side."""
    at, begun = 8, False
    while at + 12 <= len(raw):
        size, kind = struct.unpack(">I4s", raw[at : at + 8])
        if kind == b"IDAT":
            begun = True
            yield raw[at + 8 : at + 8 + size]
        elif begun:
            return
        at += 12 + size
