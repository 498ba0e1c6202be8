"""Tensors that are parts of others: where they lie, and that every element read was written."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minidl.ir import Array, PlanError
from minidl.placed.verify.rows import Table, TensorRow, part_start

MOST_CELLS = 2**20
"""Of one tensor: the parts of a real one share most of their bounds."""


def check_parts(table: Table) -> None:
    """A part lies where its box says; what is read of a tensor in parts was written before.

    `check_replay` knows bytes by their owner alone, and takes a part's bytes to lie side by side;
    here the elements of each tensor that is written in parts are followed one box at a time.
    """
    parts: dict[int, list[int]] = {}
    for row, t in enumerate(table.tensors):
        if t.box is not None:
            _check_box(t, table.tensors[t.root])
            parts.setdefault(t.root, []).append(row)
    grids = {
        root: _Grid(table.tensors[root], [table.tensors[row] for row in rows])
        for root, rows in parts.items()
        if not table.tensors[root].given
    }
    if grids:
        _check_written(table, grids)


def _check_box(t: TensorRow, root: TensorRow) -> None:
    box = t.box or ()
    inside = len(box) == len(root.shape) and all(
        0 <= low < high <= size for (low, high), size in zip(box, root.shape, strict=True)
    )
    if not inside:
        raise PlanError(f"{t} is the box {box} of {root}, whose shape is {root.shape}")
    share = math.prod(high - low for low, high in box) * root.nbytes
    start = root.offset + part_start(box, root.shape, root.nbytes)
    if t.nbytes * math.prod(root.shape) != share or t.offset != start:
        raise PlanError(
            f"{t} at byte {t.offset} with {t.nbytes} bytes is not the box {box} of {root}, "
            f"which begins at byte {start}"
        )


class _Grid:
    """A tensor cut at every bound of its parts: one cell is written as a whole or not at all."""

    def __init__(self, root: TensorRow, parts: Sequence[TensorRow]) -> None:
        self.bounds = []
        for axis, size in enumerate(root.shape):
            cuts = {0, size}.union(*(t.box[axis] for t in parts if t.box is not None))
            self.bounds.append(sorted(cuts))
        cells = [len(b) - 1 for b in self.bounds]
        if math.prod(cells) > MOST_CELLS:
            raise PlanError(f"{root} is cut into more than {MOST_CELLS:,} parts by its views")
        self.written: Array = np.zeros(cells, bool)

    def cells(self, t: TensorRow) -> Array:
        """The cells that a tensor covers: a view."""
        if t.box is None:
            return self.written
        region = tuple(
            slice(bounds.index(low), bounds.index(high))
            for bounds, (low, high) in zip(self.bounds, t.box, strict=True)
        )
        return self.written[region]


def _check_written(table: Table, grids: dict[int, _Grid]) -> None:
    """grids: of the tensors that are followed, by their rows."""
    for i, op in enumerate(table.ops):
        for row in op.reads:
            t = table.tensors[row]
            if t.root in grids and not grids[t.root].cells(t).all():
                raise PlanError(f"{table.op(i)} reads {t}, of which a part is not written yet")
        for row in op.writes:
            t = table.tensors[row]
            if t.root in grids:
                grids[t.root].cells(t)[...] = True
