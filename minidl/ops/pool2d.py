"""Pooling by regions and taps: equations in `minidl.layers.pool2d`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from minidl.ir import Array, How, Op, Shape, Takes
from minidl.ir.op import Finish
from minidl.ops.bits import pack, unpack
from minidl.ops.host import blocks, run_tiles
from minidl.ops.target import on_host
from minidl.ops.window import Pair, Window, tiles
from minidl.options import Options

Region = tuple[slice, slice, slice]
"""Images, rows and columns of an NHWC array, all channels."""
TEMPORARY = 256 * 1024
"""Bytes of one temporary at most: larger ones leave the L2 cache, and with much smaller ones the
cores wait for the interpreter's lock."""


def regions(shape: Shape, elements: int) -> list[Region]:
    """Cut (N, H, W, C) into regions of at most `elements`, or of one pixel."""
    pixels = max(1, elements // shape[3])
    return [
        (tile.images, tile.rows, columns)
        for tile in tiles(shape, pixels)
        for columns in blocks(shape[2], pixels)
    ]


def taps(
    window: Window, rows: slice, columns: slice, size: Pair
) -> Iterator[tuple[int, Region, Region]]:
    """For every tap, row by row: its index, the outputs in `rows` and `columns`, counted from
    their starts, whose tap lies inside an image of `size`, and the pixels that they read."""
    everywhere = slice(None)
    for r in range(window.kernel[0]):
        p, h = window.valid(0, r, size[0], rows.start, rows.stop)
        for s in range(window.kernel[1] if p.start < p.stop else 0):
            q, w = window.valid(1, s, size[1], columns.start, columns.stop)
            if q.start < q.stop:
                yield r * window.kernel[1] + s, (everywhere, p, q), (everywhere, h, w)


def readers(window: Window, region: Region, outputs: Pair) -> Iterator[tuple[int, Region, Region]]:
    """For every tap: its index, the outputs whose tap lies in `region` of the image, and the
    pixels that they read, counted from the start of the region."""
    _, rows, columns = region
    top, left = window.padding
    inside = replace(window, padding=(top + rows.start, left + columns.start))
    size = rows.stop - rows.start, columns.stop - columns.start
    return taps(inside, slice(0, outputs[0]), slice(0, outputs[1]), size)


def _read_regions(x: Array, window: Window) -> list[Region]:
    """Regions of an input of which each tap reads `TEMPORARY` bytes at most."""
    elements = TEMPORARY // x.itemsize
    return regions(x.shape, elements if min(window.stride) == 1 else 2 * elements)


def _disjoint(window: Window) -> bool:
    """Whether no pixel is in two windows."""
    return all(
        d * (k - 1) < s
        for d, k, s in zip(window.dilation, window.kernel, window.stride, strict=True)
    )


def maxpool2d_forward(
    y: Array,
    argmax: Array,
    x: Array,
    *,
    window: Window,
    bits: int | None = None,
    finish: Finish | None = None,
) -> None:
    """With `bits`, argmax comes packed."""
    parts = regions(y.shape, TEMPORARY // y.itemsize)
    down, across = (_first_taps(window, axis, y.shape[1 + axis]) for axis in (0, 1))
    down = (down[:, None, None] * window.kernel[1]).astype(argmax.dtype)
    across = across[:, None].astype(argmax.dtype)

    def region(index: int, _: int) -> None:
        images, rows, columns = part = parts[index]
        source, best = x[images], y[part]
        best_tap = np.empty(best.shape, argmax.dtype) if bits else argmax[part]
        best[...] = -np.inf
        best_tap[...] = down[rows] + across[columns]
        for tap, to, at in taps(window, rows, columns, x.shape[1:3]):
            candidate, kept, kept_tap = source[at], best[to], best_tap[to]
            larger = np.greater(candidate, kept).view(np.uint8)
            np.maximum(candidate, kept, out=kept)
            # taps rise, so the last one that was larger is the largest index
            np.maximum(kept_tap, larger * argmax.dtype.type(tap), out=kept_tap)
        if np.isnan(best).any():
            for tap, to, at in taps(window, rows, columns, x.shape[1:3]):
                np.copyto(best_tap[to], argmax.dtype.type(tap), where=np.isnan(source[at]))
        if bits:
            pack(argmax[part], best_tap, bits)
        if finish is not None:
            finish(best)

    run_tiles(region, len(parts))


def _first_taps(window: Window, axis: int, outputs: int) -> Array:
    """For each output along an axis its first tap inside of the image."""
    outside = window.padding[axis] - np.arange(outputs) * window.stride[axis]
    return np.maximum(0, -(-outside // window.dilation[axis]))


def maxpool2d_dgrad(
    dx: Array, dy: Array, argmax: Array, *, window: Window, bits: int | None = None
) -> None:
    """With `bits`, argmax comes packed."""
    parts, raw = _read_regions(dx, window), f"i{dy.itemsize}"
    apart = _disjoint(window)

    def region(index: int, _: int) -> None:
        part = parts[index]
        gradient, arriving = dx[part], dy[part[0]]
        gradient[...] = 0
        found = list(readers(window, part, dy.shape[1:3]))
        chosen = Chosen.of(argmax[part[0]], [of for _, of, _ in found], dy.shape[3], bits)
        for tap, of, at in found:
            # bits times 0 is +0, also where dy is infinite
            target, taken = gradient[at], chosen.at(of) == tap
            if apart:
                np.multiply(arriving[of].view(raw), taken, out=target.view(raw))
            else:
                target += (arriving[of].view(raw) * taken).view(dy.dtype)

    run_tiles(region, len(parts))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The argmax of some images' outputs from (`top`, `left`) on."""

    taps: Array
    top: int = 0
    left: int = 0

    @staticmethod
    def of(argmax: Array, regions: list[Region], channels: int, bits: int | None) -> Chosen:
        """All of it, or, where it is packed, what covers `regions`."""
        if bits is None or not regions:
            return Chosen(argmax)
        top, left = (min(r[axis].start for r in regions) for axis in (1, 2))
        bottom, right = (max(r[axis].stop for r in regions) for axis in (1, 2))
        packed = argmax[:, top:bottom, left:right]
        taps = np.empty((*packed.shape[:-1], channels), np.uint8)
        unpack(packed, channels, bits, taps)
        return Chosen(taps, top, left)

    def at(self, region: Region) -> Array:
        images, rows, columns = region
        down = slice(rows.start - self.top, rows.stop - self.top)
        across = slice(columns.start - self.left, columns.stop - self.left)
        return self.taps[images, down, across]


def _divisors(x: Array, y: Array, window: Window, padded: bool) -> tuple[Array, Array]:
    """Rows (P, 1, 1) and columns (Q, 1) that the windows count; a divisor is their product."""

    def along(axis: int) -> Array:
        kernel, stride, padding = window.kernel[axis], window.stride[axis], window.padding[axis]
        size = x.shape[1 + axis]
        first = np.arange(y.shape[1 + axis]) * stride - padding
        last = np.minimum(first + kernel, size + padding)
        if not padded:
            first, last = np.maximum(first, 0), np.minimum(last, size)
        counted: Array = (last - first).astype(y.dtype)
        return counted

    return along(0)[:, None, None], along(1)[:, None]


def avgpool2d_forward(y: Array, x: Array, *, window: Window, count_include_pad: bool) -> None:
    parts = regions(y.shape, TEMPORARY // y.itemsize)
    heights, widths = _divisors(x, y, window, count_include_pad)

    def region(index: int, _: int) -> None:
        images, rows, columns = part = parts[index]
        source, total = x[images], y[part]
        total[...] = 0
        for _, to, at in taps(window, rows, columns, x.shape[1:3]):
            target = total[to]
            target += source[at]
        total /= heights[rows] * widths[columns]

    run_tiles(region, len(parts))


def avgpool2d_dgrad(dx: Array, dy: Array, *, window: Window, count_include_pad: bool) -> None:
    parts = _read_regions(dx, window)
    heights, widths = _divisors(dx, dy, window, count_include_pad)

    def region(index: int, _: int) -> None:
        part = parts[index]
        gradient, arriving = dx[part], dy[part[0]]
        gradient[...] = 0
        for _, of, at in readers(window, part, dy.shape[1:3]):
            target = gradient[at]
            target += arriving[of] / (heights[of[1]] * widths[of[2]])

    run_tiles(region, len(parts))


def _bins(size: int, count: int) -> list[slice]:
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _area(rows: slice, columns: slice) -> int:
    area: int = (rows.stop - rows.start) * (columns.stop - columns.start)
    return area


def adaptive_avgpool2d_forward(y: Array, x: Array) -> None:
    n, height, width, _ = y.shape
    down, across = _bins(x.shape[1], height), _bins(x.shape[2], width)

    def row(index: int, _: int) -> None:
        image, p = divmod(index, height)
        for q, columns in enumerate(across):
            mean = y[image, p, q]
            np.add.reduce(x[image, down[p], columns], axis=(0, 1), out=mean)
            mean /= _area(down[p], columns)

    run_tiles(row, n * height)


def adaptive_avgpool2d_dgrad(dx: Array, dy: Array) -> None:
    n, height, width, _ = dy.shape
    down, across = _bins(dx.shape[1], height), _bins(dx.shape[2], width)

    def spread(image: int, _: int) -> None:
        dx[image] = 0
        for p, q in np.ndindex(height, width):
            rows, columns = down[p], across[q]
            target = dx[image, rows, columns]
            target += dy[image, p, q] / _area(rows, columns)

    run_tiles(spread, n)


@on_host(maxpool2d_forward)
def _finishing(_op: Op, _: Options) -> How:
    return How(takes=Takes(finishes=True))
