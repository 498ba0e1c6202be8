"""Packed signs: one bit an element, all that the gradient of a ReLU needs of its output."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array
from minidl.ops.host import CHUNK, run_chunks


def signs_shape(size: int) -> tuple[int]:
    """The shape, in bytes, of the packed signs of `size` elements."""
    return (-(-size // 8),)


def passes_relu(y: Array) -> Array:
    """Where the gradient of a ReLU passes: its output y is positive or, as in PyTorch, NaN."""
    cut = np.less_equal(y, 0)
    passes: Array = np.logical_not(cut, out=cut)
    return passes


def pack_signs(signs: Array, y: Array) -> None:
    """Bit i of `signs` (most significant first): whether element i of y, row by row, passes."""
    rows = _rows(y)

    def chunk(part: slice) -> None:
        bits = np.packbits(passes_relu(rows[part]))
        first = part.start * rows.shape[1] // 8
        signs[first : first + bits.size] = bits

    run_chunks(chunk, len(rows), _rows_per_chunk(rows))


def keep_positive(dx: Array, dy: Array, signs: Array) -> None:
    """dx = dy where the packed sign is set, else +0; dx may lie over dy."""
    out, source = _rows(dx), _rows(dy)
    bits = f"i{dx.itemsize}"  # the product of bits and 0 is +0, whatever the sign of dy

    def chunk(part: slice) -> None:
        target = out[part]
        first = part.start * out.shape[1] // 8
        packed = signs[first : first - (-target.size // 8)]
        positive = np.unpackbits(packed, count=target.size).reshape(target.shape)
        np.multiply(source[part].view(bits), positive, out=target.view(bits))

    run_chunks(chunk, len(out), _rows_per_chunk(out))


def _rows(y: Array) -> Array:
    """(..., C) as (rows, C), a view also where rows lie apart."""
    return y.reshape(-1, y.shape[-1])


def _rows_per_chunk(rows: Array) -> int:
    """A multiple of 8, so that chunks begin at whole bytes of signs."""
    width: int = rows.shape[1]
    return 8 * max(1, CHUNK // (8 * width))
