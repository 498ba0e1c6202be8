"""Convolution as matrix products of tiles of patches: equations in `minidl.layers.conv2d`.

A product by one row or column gets packed operands: BLAS has another routine for it, whose order of
sums depends on the strides of the matrix, and pixels of a part of a concatenation lie apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from minidl.ir import Array, How, Op, Shape, Takes, Tensor
from minidl.ir.op import Finish
from minidl.ops.host import HOST_LANES, blocks, lane_of, run_tiles
from minidl.ops.target import data_of, of_phase, on_host
from minidl.ops.window import Tile, Window, first_tile, pad_rows, tiles, windows
from minidl.options import Options

PATCH_BYTES = 2**22
"""Target size of one lane's patches: enough rows to make packing the filters cheap."""
WGRAD_COLUMNS = 192
"""Least columns of one product of wgrad, where the filter has as many."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How the NumPy implementation cuts one convolution into products; sizes in elements."""

    window: Window
    groups: int
    pixels: int
    """Output pixels of one tile."""
    tap_rows: int
    """Filter rows that one wgrad task gathers."""
    filters: int
    """Filters of one wgrad task."""
    forward_scratch: int
    dgrad_scratch: int
    wgrad_scratch: int
    gathers: bool
    """Whether dgrad is a convolution of dy by the turned filters; else it adds tap by tap."""

    @staticmethod
    def of(window: Window, groups: int, x: Tensor, y: Tensor, limit: int) -> Tiling:
        """Tiles of about `PATCH_BYTES`, smaller where all lanes would pass `limit` bytes."""
        (r, s), c, k = window.kernel, x.shape[3] // groups, y.shape[3] // groups
        itemsize = y.nbytes // y.size
        tap_rows = min(r, -(-WGRAD_COLUMNS // (s * c)))
        tasks = groups * -(-r // tap_rows)
        filters = max(1, -(-k // max(2, -(-HOST_LANES // tasks))))

        filter_size = k * groups * r * s * c
        fits = filter_size * itemsize * 2 <= limit and min(turn(window).padding) >= 0
        gathers = window.stride == (1, 1) and r * s > 1 and fits

        def scratch(pixels: int) -> tuple[int, int, int]:
            tile = first_tile(y.shape, pixels)
            here = math.prod(tile.shape) * y.shape[2]
            patch = here * s * c
            forward = HOST_LANES * (patch * r + _padded_size(x.shape, tile, window))
            tile = first_tile(y.shape, pixels * (r // tap_rows))
            patch = math.prod(tile.shape) * y.shape[2] * s * c
            wgrad = patch * tap_rows + _padded_size(x.shape, tile, window)
            if s * c == 1:
                wgrad += patch * filters  # dy, packed for products by one column
            wgrad = HOST_LANES * (wgrad + 2 * filters * tap_rows * s * c)
            if not gathers:
                packed = here * k if c == 1 else 0  # dy, for products by one column
                return forward, HOST_LANES * (here * c + packed), wgrad
            tile = first_tile(x.shape, pixels)
            patch = math.prod(tile.shape) * x.shape[2] * r * s * k
            turned = _padded_size(y.shape, tile, turn(window))
            return forward, filter_size + HOST_LANES * (patch + turned), wgrad

        pixels = max(1, PATCH_BYTES // (r * s * max(c, k if gathers else 0) * itemsize))
        while pixels > y.shape[2] and max(scratch(pixels)) * itemsize > limit:
            pixels //= 2
        gathers = gathers and scratch(pixels)[1] * itemsize <= limit
        return Tiling(window, groups, pixels, tap_rows, filters, *scratch(pixels), gathers)

    @property
    def scratch(self) -> tuple[int, int, int]:
        """Of forward, dgrad and wgrad."""
        return self.forward_scratch, self.dgrad_scratch, self.wgrad_scratch

    @property
    def wgrad_pixels(self) -> int:
        """Pixels of one tile of wgrad: more, since a task gathers only some filter rows."""
        return self.pixels * (self.window.kernel[0] // self.tap_rows)

    @property
    def pointwise(self) -> bool:
        """Whether patches are the pixels themselves."""
        w = self.window
        return w.kernel == (1, 1) and w.stride == (1, 1) and w.padding == (0, 0)


def turn(window: Window) -> Window:
    """The window of a stride-1 convolution's data gradient: dy padded by what is left over."""
    extent = [d * (k - 1) for d, k in zip(window.dilation, window.kernel, strict=True)]
    padding = extent[0] - window.padding[0], extent[1] - window.padding[1]
    return Window(window.kernel, (1, 1), padding, window.dilation)


def _padded_size(shape: Shape, tile: Tile, window: Window) -> int:
    rows = (tile.shape[1] - 1) * window.stride[0] + window.dilation[0] * (window.kernel[0] - 1) + 1
    return tile.shape[0] * rows * (shape[2] + 2 * window.padding[1]) * shape[3]


def gather(
    x: Array,
    tile: Tile,
    width: int,
    tiling: Tiling,
    group: int,
    taps: slice,
    scratch: Array,
    packed: bool = False,
) -> Array:
    """Patches of a tile: a matrix (pixels, taps x S x C/groups), gathered into `scratch`.

    Not packed, it may be a view of x.
    """
    c = x.shape[3] // tiling.groups
    channels = slice(group * c, (group + 1) * c)
    if tiling.pointwise:
        pixels = tile.of(x)[:, channels]
        return _packed(pixels, scratch) if packed else pixels
    n, rows = tile.shape
    view_size = n * rows * width * (taps.stop - taps.start) * tiling.window.kernel[1] * c
    padded = pad_rows(x, tile, tiling.window, scratch[view_size:])
    view = windows(padded, tiling.window, rows, width)[:, :, :, taps, :, channels]
    patches = scratch[:view_size].reshape(view.shape)
    np.copyto(patches, view)
    return patches.reshape(n * rows * width, -1)


def _packed(matrix: Array, scratch: Array) -> Array:
    """A copy in `scratch` whose rows lie one behind the other."""
    copy = scratch[: matrix.size].reshape(matrix.shape)
    np.copyto(copy, matrix)
    return copy


def conv2d_forward(
    y: Array,
    scratch: Array,
    x: Array,
    w: Array,
    *bias: Array,
    tiling: Tiling,
    finish: Finish | None = None,
) -> None:
    k = w.shape[0] // tiling.groups
    matrices = [w[g * k : (g + 1) * k].reshape(k, -1).T for g in range(tiling.groups)]
    _convolve(y, scratch, x, matrices, tiling, bias, finish)


def _convolve(
    y: Array,
    scratch: Array,
    x: Array,
    matrices: list[Array],
    tiling: Tiling,
    bias: tuple[Array, ...] = (),
    finish: Finish | None = None,
) -> None:
    """y = patches of x times one matrix (R S C/groups, K/groups) for each group, + bias."""
    parts, k = tiles(y.shape, tiling.pixels), y.shape[3] // tiling.groups
    taps = slice(0, tiling.window.kernel[0])

    def tile(index: int, lane: int) -> None:
        out, room = parts[index].of(y), lane_of(scratch, lane)
        for g, matrix in enumerate(matrices):
            column = matrix.shape[1] == 1
            patches = gather(x, parts[index], y.shape[2], tiling, g, taps, room, column)
            np.matmul(patches, matrix, out=out[:, g * k : (g + 1) * k])
        for b in bias:
            out += b
        if finish is not None:
            finish(out)

    products = y.size * matrices[0].shape[0]
    run_tiles(tile, len(parts), products=products)


def conv2d_dgrad(dx: Array, scratch: Array, dy: Array, w: Array, *, tiling: Tiling) -> None:
    """dx = sum over taps (r, s) of dy w[:, r, s, :], each where its tap reads."""
    if tiling.gathers:
        _convolve_back(dx, scratch, dy, w, tiling)
    else:
        _add_taps(dx, scratch, dy, w, tiling)


def _convolve_back(dx: Array, scratch: Array, dy: Array, w: Array, tiling: Tiling) -> None:
    """Stride 1: the convolution of dy by the filters turned by 180 degrees, k and c exchanged."""
    k, (_, r, s, c) = w.shape[0] // tiling.groups, w.shape
    turned = scratch[: w.size].reshape(tiling.groups, r, s, k, c)
    for g in range(tiling.groups):
        np.copyto(turned[g], w[g * k : (g + 1) * k, ::-1, ::-1].transpose(1, 2, 0, 3))
    matrices = [filters.reshape(r * s * k, c) for filters in turned]
    back = replace(tiling, window=turn(tiling.window))
    _convolve(dx, scratch[w.size :], dy, matrices, back)


def _add_taps(dx: Array, scratch: Array, dy: Array, w: Array, tiling: Tiling) -> None:
    parts = tiles(dy.shape, tiling.pixels)
    starts = sorted({part.images.start for part in parts})

    def images(index: int, lane: int) -> None:
        mine = [part for part in parts if part.images.start == starts[index]]
        room = lane_of(scratch, lane)
        if tiling.pointwise and tiling.groups == 1:
            for part in mine:
                source = part.of(dy) if w.shape[3] > 1 else _packed(part.of(dy), room)
                np.matmul(source, w[:, 0, 0, :], out=part.of(dx))
            return
        dx[mine[0].images] = 0
        for part in mine:
            _scatter(dx, part, dy, w, tiling, room)

    run_tiles(images, len(starts), products=dy.size * w[0].size)


def _scatter(dx: Array, tile: Tile, dy: Array, w: Array, tiling: Tiling, scratch: Array) -> None:
    """Add one tile's share of the data gradient, tap by tap."""
    window, source = tiling.window, tile.of(dy)
    k, (_, taps_r, taps_s, c) = w.shape[0] // tiling.groups, w.shape
    shape = (*tile.shape, dy.shape[2], c)
    size = math.prod(shape)
    product = scratch[:size].reshape(shape)
    for g in range(tiling.groups):
        f, channels = slice(g * k, (g + 1) * k), slice(g * c, (g + 1) * c)
        mine = source[:, f] if c > 1 else _packed(source[:, f], scratch[size:])
        for r, s in np.ndindex(taps_r, taps_s):
            rows, to_rows = window.valid(0, r, dx.shape[1], tile.rows.start, tile.rows.stop)
            columns, to_columns = window.valid(1, s, dx.shape[2], 0, dy.shape[2])
            np.matmul(mine, w[f, r, s], out=product.reshape(-1, c))
            target = dx[tile.images, to_rows, to_columns, channels]
            target += product[:, rows, columns]


def conv2d_wgrad(
    scratch: Array,
    dy: Array,
    x: Array,
    *,
    tiling: Tiling,
    store: Callable[[tuple[slice, ...], Array], None],
) -> None:
    """dw[k,r,s,c] = sum over pixels of dy[pixel, k] patch[pixel, r, s, c].

    A task owns some filters and filter rows and sums over all tiles in order, so each element
    is complete, and summed in one fixed order, when it is handed to `store`.
    """
    parts, k = tiles(dy.shape, tiling.wgrad_pixels), dy.shape[3] // tiling.groups
    s, c = tiling.window.kernel[1], x.shape[3] // tiling.groups
    tasks = [
        (g, slice(g * k + f.start, g * k + f.stop), taps)
        for g in range(tiling.groups)
        for f in blocks(k, tiling.filters)
        for taps in blocks(tiling.window.kernel[0], tiling.tap_rows)
    ]

    def task(index: int, lane: int) -> None:
        g, filters, taps = tasks[index]
        shape = (filters.stop - filters.start, (taps.stop - taps.start) * s * c)
        size, room, vector = math.prod(shape), lane_of(scratch, lane), 1 in shape
        total, partial = room[:size].reshape(shape), room[size : 2 * size].reshape(shape)
        for i, part in enumerate(parts):
            free, rows = room[2 * size :], part.of(dy)[:, filters]
            patches = gather(x, part, dy.shape[2], tiling, g, taps, free, vector)
            if vector:
                rows = _packed(rows, free[patches.size :])
            np.matmul(rows.T, patches, out=partial if i else total)
            if i:
                total += partial
        store((filters, taps), total.reshape(shape[0], -1, s, c))

    run_tiles(
        task,
        len(tasks),
        products=dy.size * x.shape[3] // tiling.groups * math.prod(tiling.window.kernel),
    )


@on_host(conv2d_forward, conv2d_dgrad, conv2d_wgrad)
def _how(op: Op, options: Options) -> How:
    """One tiling for all three; dgrad adds taps to all of dx, so that no part of it is complete."""
    window, groups = op.attributes["window"], op.attributes["groups"]
    tiling = Tiling.of(window, groups, *data_of(op), options.scratch_limit)
    takes = Takes(tiled=0 if op.phase == "wgrad" else None, finishes=op.phase == "forward")
    return How({"tiling": tiling}, of_phase(op, tiling.scratch), takes)
