"""Sums, and copies between a tensor and its parts along the channels or the batch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from minidl.ir import Array
from minidl.ops.host import CHUNK, run_chunks


def add_forward(y: Array, first: Array, second: Array, *more: Array) -> None:
    """No input is read after a byte of y is written, so y may lie over any of them."""
    *middle, last = (second, *more)
    total = first
    for x in middle:
        total = total + x
    np.add(total, last, out=y)


def concat_forward(y: Array, *inputs: Array) -> None:
    for x, columns in _columns(inputs):
        _copy_rows(_rows(y)[:, columns], _rows(x))


def concat_dgrad(*gradients: Array) -> None:
    """The arguments are dx0, dx1, ..., dy."""
    *parts, dy = gradients
    for dx, columns in _columns(parts):
        _copy_rows(_rows(dx), _rows(dy)[:, columns])


def _rows(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


def _columns(parts: Sequence[Array]) -> list[tuple[Array, slice]]:
    """Each part and the channels of the whole that it is."""
    ends = itertools.accumulate(part.shape[-1] for part in parts)
    return [(p, slice(end - p.shape[-1], end)) for p, end in zip(parts, ends, strict=True)]


def _copy_rows(to: Array, source: Array) -> None:
    chunk = max(1, CHUNK // source.shape[1])
    run_chunks(lambda rows: np.copyto(to[rows], source[rows]), len(to), chunk)


def join_slices(y: Array, *slices: Array) -> None:
    np.concatenate(slices, out=y)


def cut_slices(*slices: Array) -> None:
    """The arguments are dx0, dx1, ..., dy."""
    *parts, dy = slices
    low = 0
    for dx in parts:
        np.copyto(dx, dy[low : low + len(dx)])
        low += len(dx)
