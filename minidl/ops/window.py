"""Window: the geometry that convolution and pooling share, and its tiles on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.ir import Array, Shape, ShapeError

Pair = tuple[int, int]


def both(value: Any) -> Pair:
    """(value, value) for a number, a pair as it is: PyTorch's arguments."""
    return value if isinstance(value, tuple) else (value, value)


@dataclass(frozen=True, slots=True)
class Window:
    """A kernel of (R, S) elements moved over a padded image; every pair is (height, width)."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    """Whether a last window may hang over the far edge, if it starts inside (PyTorch's rule)."""

    def output_size(self, height: int, width: int) -> Pair:
        """floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, per axis."""
        out = tuple(self._along(axis, size) for axis, size in enumerate((height, width)))
        return out[0], out[1]

    def _along(self, axis: int, size: int) -> int:
        stride, padding = self.stride[axis], self.padding[axis]
        extent = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        room = size + 2 * padding - extent
        if room < 0:
            side = ("height", "width")[axis]
            raise ShapeError(
                f"a window of {extent} is larger than the input's {side} {size} with padding "
                f"{padding}",
                "use a larger image, a smaller window or more padding",
            )
        count = (room + (stride - 1 if self.ceil_mode else 0)) // stride + 1
        if self.ceil_mode and (count - 1) * stride >= size + padding:
            count -= 1
        return count

    def misses(self, height: int, width: int) -> bool:
        """Whether a window has no element inside the image: its dilation steps over it."""
        outputs = self.output_size(height, width)
        return any(
            self._taps_inside(axis, output, size) == 0
            for axis, size in enumerate((height, width))
            for output in range(outputs[axis])
        )

    def _taps_inside(self, axis: int, output: int, size: int) -> int:
        first, step = output * self.stride[axis] - self.padding[axis], self.dilation[axis]
        return sum(0 <= first + tap * step < size for tap in range(self.kernel[axis]))

    def valid(self, axis: int, tap: int, size: int, first: int, last: int) -> tuple[slice, slice]:
        """Outputs in [first, last) whose element `tap` lies inside the image, counted from
        `first`, and the positions in the image that they read."""
        stride = self.stride[axis]
        shift = tap * self.dilation[axis] - self.padding[axis]
        low = max(first, -(shift // stride))
        high = max(low, min(last, (size - 1 - shift) // stride + 1))
        start = low * stride + shift
        return slice(low - first, high - first), slice(start, start + (high - low) * stride, stride)


@dataclass(frozen=True, slots=True)
class Tile:
    """Whole output rows `rows` of the images `images`; one image unless rows are all."""

    images: slice
    rows: slice

    @property
    def shape(self) -> Pair:
        return self.images.stop - self.images.start, self.rows.stop - self.rows.start

    def of(self, y: Array) -> Array:
        """The tile's pixels of an NHWC array: a matrix (pixels, C), a view."""
        return y[self.images, self.rows].reshape(-1, y.shape[-1])


def tiles(shape: Shape, pixels: int) -> list[Tile]:
    """Cut the output (N, H, W, ...) into tiles of at most `pixels` pixels, or of one row."""
    n, h = shape[:2]
    images, rows = first_tile(shape, pixels).shape
    return [
        Tile(slice(i, min(n, i + images)), slice(r, min(h, r + rows)))
        for i in range(0, n, images)
        for r in range(0, h, rows)
    ]


def first_tile(shape: Shape, pixels: int) -> Tile:
    """The first of `tiles`, which no other is larger than."""
    n, h, w = shape[:3]
    rows = max(1, min(h, pixels // w))
    images = max(1, pixels // (h * w)) if rows == h else 1
    return Tile(slice(0, min(n, images)), slice(0, rows))


def pad_rows(x: Array, tile: Tile, window: Window, buffer: Array) -> Array:
    """The input rows that a tile reads, with zeros around: (images, rows, W + 2 padding, C)."""
    (stride, _), (top, left) = window.stride, window.padding
    first = tile.rows.start * stride - top
    count = (tile.shape[1] - 1) * stride + window.dilation[0] * (window.kernel[0] - 1) + 1
    n, (h, w, c) = tile.shape[0], x.shape[1:]
    padded = buffer[: n * count * (w + 2 * left) * c].reshape(n, count, w + 2 * left, c)
    low = max(0, first)
    high = max(low, min(h, first + count))  # no row where the tile reads padding alone
    inside = slice(low - first, high - first)
    padded[:, : inside.start] = 0
    padded[:, inside.stop :] = 0
    padded[:, inside, :left] = 0
    padded[:, inside, left + w :] = 0
    padded[:, inside, left : left + w] = x[tile.images, low:high]
    return padded


def windows(padded: Array, window: Window, rows: int, width: int) -> Array:
    """A view (images, rows, width, R, S, C) of a contiguous padded array: no copy."""
    n, _, _, c = padded.shape
    along_n, along_h, along_w, along_c = padded.strides
    (sh, sw), (dh, dw) = window.stride, window.dilation
    return np.ndarray(
        (n, rows, width, *window.kernel, c),
        padded.dtype,
        padded,
        0,
        (along_n, along_h * sh, along_w * sw, along_h * dh, along_w * dw, along_c),
    )
