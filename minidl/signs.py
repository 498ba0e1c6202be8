"""Packed signs: one bit an element, all that the gradient of a ReLU needs of its output."""

from __future__ import annotations

import numpy as np

from minidl.host import CHUNK, run_chunks
from minidl.ir import Array


def signs_shape(size: int) -> tuple[int]:
    """The shape, in bytes, of the packed signs of `size` elements."""
    return (-(-size // 8),)


def pack_signs(signs: Array, y: Array) -> None:
    """Bit i of `signs` (most significant first) = flat y[i] > 0; False for NaN."""
    flat = y.reshape(-1)

    def chunk(part: slice) -> None:
        bits = np.packbits(flat[part] > 0)
        signs[part.start // 8 : part.start // 8 + bits.size] = bits

    run_chunks(chunk, flat.size, CHUNK)


def keep_positive(dx: Array, dy: Array, signs: Array) -> None:
    """dx = dy where the packed sign is set, else +0; dx may lie over dy."""
    out, source = dx.reshape(-1), dy.reshape(-1)
    bits = f"i{dx.itemsize}"  # the product of bits and 0 is +0, whatever the sign of dy

    def chunk(part: slice) -> None:
        packed = signs[part.start // 8 : -(-part.stop // 8)]
        positive = np.unpackbits(packed, count=part.stop - part.start)
        np.multiply(source[part].view(bits), positive, out=out[part].view(bits))

    run_chunks(chunk, out.size, CHUNK)
