"""Between gradients and updates: sums over calls, the norm of all gradients, clipping by it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.ir import Array, How, Op, Takes
from minidl.ops.host import CHUNK, run_chunks
from minidl.ops.target import on_host
from minidl.options import Options


def accumulate_gradient(total: Array, dw: Array, call: Array, *, calls: int) -> None:
    """total = dw / calls in the first call, which clears it; then total = total + dw / calls."""
    if call:
        total += dw * (1 / calls)
    else:
        np.multiply(dw, 1 / calls, out=total)


def sum_of_squares(square: Array, scratch: Array, dw: Array) -> None:
    """square = sum of dw^2, by partial sums in a fixed order."""
    flat = dw.reshape(-1)

    def part(i: slice) -> None:
        scratch[i.start // CHUNK] = np.add.reduce(flat[i] * flat[i])

    run_chunks(part, flat.size)
    square[0] = np.add.reduce(scratch)


def gradient_norm(norm: Array, coefficient: Array, squares: Array, *, clip_norm: float) -> None:
    """norm = sqrt(sum squares), coefficient = min(1, clip_norm / (norm + 1e-6)); NaN stays NaN."""
    np.sqrt(np.add.reduce(squares), out=norm)
    np.minimum(1, clip_norm / (norm + 1e-6), out=coefficient)


def clip_gradient(
    dw: Array, coefficient: Array, *, store: Callable[[tuple[slice, ...], Array], None]
) -> None:
    """clipped = coefficient dw, handed on part by part, so that an update can take it."""

    def rows(part: slice) -> None:
        store((part,), dw[part] * coefficient)

    run_chunks(rows, len(dw), max(1, CHUNK * len(dw) // dw.size))


@on_host(sum_of_squares)
def _squares(op: Op, _: Options) -> How:
    return How(scratch=-(-op.reads[0].size // CHUNK))


@on_host(clip_gradient)
def _clipped(_op: Op, _: Options) -> How:
    return How(takes=Takes(tiled=0))
