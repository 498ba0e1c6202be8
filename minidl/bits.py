"""Small integers packed into bytes: the argmax of a max-pool needs 2 or 4 bits an element.

A pixel's C elements of b bits fill G = ceil(C b / 8) bytes: bits [i b, (i + 1) b) of byte g are
channel i G + g. Channels that lie side by side stay so, which is what vector units want.
"""

from __future__ import annotations

from minidl.ir import Array, Shape


def packed_shape(shape: Shape, bits: int) -> Shape:
    """The shape, in bytes, of elements of `bits` bits packed along the last axis."""
    return (*shape[:-1], -(-shape[-1] * bits // 8))


def pack(packed: Array, elements: Array, bits: int) -> None:
    """Write (..., C) elements, each below 2^bits, into (..., G) bytes."""
    groups, channels = packed.shape[-1], elements.shape[-1]
    packed[...] = elements[..., :groups]
    for i in range(1, -(-channels // groups)):
        part = elements[..., i * groups : (i + 1) * groups]
        packed[..., : part.shape[-1]] |= part << (i * bits)


def unpack(packed: Array, channels: int, bits: int, out: Array) -> None:
    """Read (..., C) elements back from (..., G) bytes into `out`."""
    groups, mask = packed.shape[-1], 2**bits - 1
    for i in range(-(-channels // groups)):
        part = out[..., i * groups : (i + 1) * groups]
        part[...] = packed[..., : part.shape[-1]] >> (i * bits)
        part &= mask
