"""Small integers packed into bytes: the argmax of a max-pool needs 2 or 4 bits an element.

A pixel's C elements of b bits fill G = ceil(C b / 8) bytes: with P = 8 / b, element c is bits
[(c mod P) b, (c mod P + 1) b) of byte c // P. Neighbours share a byte, so that who makes or takes a
few channels side by side touches no other byte.
"""

from __future__ import annotations

import numpy as np

from minidl.ir import Array, Shape


def packed_shape(shape: Shape, bits: int) -> Shape:
    """The shape, in bytes, of elements of `bits` bits packed along the last axis."""
    return (*shape[:-1], -(-shape[-1] * bits // 8))


def pack(packed: Array, elements: Array, bits: int) -> None:
    """Write (..., C) elements, each below 2^bits, into (..., G) bytes."""
    places = 8 // bits
    if _whole_words(elements, places):
        words = elements.view(f"<u{places}")
        total = words.copy()
        for i in range(1, places):
            total |= words >> (i * (8 - bits))
        packed[...] = total  # the low byte
        return
    packed[...] = elements[..., ::places]
    for i in range(1, places):
        part = elements[..., i::places]
        packed[..., : part.shape[-1]] |= part << (i * bits)


def unpack(packed: Array, channels: int, bits: int, out: Array) -> None:
    """Read (..., C) elements back from (..., G) bytes into `out`."""
    places, mask = 8 // bits, 2**bits - 1
    if _whole_words(out, places):
        total = out.view(f"<u{places}")
        total[...] = packed
        words = total.copy()
        for i in range(1, places):
            total |= words << (i * (8 - bits))
        total &= int.from_bytes(bytes([mask] * places), "little")
        return
    for i in range(min(places, channels)):
        part = out[..., i::places]
        part[...] = packed[..., : part.shape[-1]] >> (i * bits)
        part &= mask


def _whole_words(elements: Array, places: int) -> bool:
    """Whether the elements of one byte are one word of `places` bytes, which is shifted at once."""
    bytes_each = elements.dtype == np.uint8 and elements.flags.c_contiguous
    return bytes_each and elements.shape[-1] % places == 0
