"""Fully connected layers by tiles: equations in `minidl.layers.linear`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minidl.ir import Array, How, Op, Shape, Takes
from minidl.ops.host import HOST_LANES, blocks, lane_of, run_chunks, run_tiles
from minidl.ops.target import on_host
from minidl.options import Options

FEATURES = 64
"""Outputs of one tile."""
COLUMNS = 512
"""Inputs of one tile of dgrad."""
WGRAD_INPUTS = 8192
"""Inputs of one tile of wgrad: long rows, since an epilogue streams weights beside the tile."""


def linear_forward(y: Array, x: Array, w: Array, *bias: Array) -> None:
    def features(f: slice) -> None:
        out = y[:, f]
        np.matmul(x, w[f].T, out=out)
        for b in bias:
            out += b[f]

    run_chunks(features, y.shape[1], FEATURES, products=len(x) * w.size)


def linear_dgrad(dx: Array, dy: Array, w: Array) -> None:
    def columns(i: slice) -> None:
        np.matmul(dy, w[:, i], out=dx[:, i])

    run_chunks(columns, dx.shape[1], COLUMNS, products=len(dy) * w.size)


def _tile_size(shape: Shape) -> int:
    return min(FEATURES, shape[0]) * min(WGRAD_INPUTS, shape[1])


def linear_wgrad(
    scratch: Array, dy: Array, x: Array, *, store: Callable[[tuple[slice, ...], Array], None]
) -> None:
    """dw by tiles: each is complete when it is handed to `store`."""
    parts = [
        (f, i) for f in blocks(dy.shape[1], FEATURES) for i in blocks(x.shape[1], WGRAD_INPUTS)
    ]

    def tile(index: int, lane: int) -> None:
        f, i = parts[index]
        shape = f.stop - f.start, i.stop - i.start
        dw = lane_of(scratch, lane)[: math.prod(shape)].reshape(shape)
        np.matmul(dy[:, f].T, x[:, i], out=dw)
        store((f, i), dw)

    run_tiles(tile, len(parts), products=x.size * dy.shape[1])


@on_host(linear_wgrad)
def _how(op: Op, _: Options) -> How:
    """A tile of dw for each lane."""
    return How(scratch=HOST_LANES * _tile_size(op.writes[0].shape), takes=Takes(tiled=0))
