"""The neutral rows that the checks read: plain numbers and names, from a Plan or from a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from minidl.ir import PlanError


class TensorRow(NamedTuple):
    """Where a tensor lies and when; views are rows of their own."""

    name: str
    kind: str
    nbytes: int
    offset: int
    """Byte in the arena."""
    first: int
    last: int
    """Half-open, in positions of ops."""
    root: int
    """Row of the tensor that owns the bytes: its own row, unless it is a view."""
    given: bool
    """Whether its bytes hold before op 0."""
    persistent: bool
    """Whether its bytes hold before op 0 and after the last op."""
    shape: tuple[int, ...] = ()
    box: tuple[tuple[int, int], ...] | None = None
    """Of a view, the root's elements that it has, a range for each axis of the root; None: all."""

    @property
    def end(self) -> int:
        return self.offset + self.nbytes

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


class OpRow(NamedTuple):
    """What one op touches: rows of tensors."""

    name: str
    phase: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    in_place: frozenset[tuple[int, int]]
    """(written row, read row): the pairs that may share bytes."""


class Table(NamedTuple):
    """A whole plan; the ops stand in the order in which they run."""

    tensors: Sequence[TensorRow]
    ops: Sequence[OpRow]
    outputs: Sequence[int]
    """Rows that must hold after the last op."""
    alignment: int
    arena_bytes: int
    max_load_bytes: int
    guard: int
    """Bytes kept free behind every tensor."""

    def op(self, index: int) -> str:
        return f"op {index} {self.ops[index].name!r}"


class Handover(NamedTuple):
    """Op `op` writes tensor `taker` in place over tensor `giver`, whose lifetime ends there."""

    op: int
    taker: int
    giver: int


def shared(a: TensorRow, b: TensorRow, guard: int = 0) -> tuple[int, int] | None:
    """The byte range that both cover, each with `guard` bytes behind it; none for two parts of one
    tensor that have no element in common, whose bytes may alternate."""
    if a.root == b.root and a.box is not None and b.box is not None:
        axes = zip(a.box, b.box, strict=True)
        if any(max(low) >= min(high) for low, high in (zip(*pair, strict=True) for pair in axes)):
            return None
    start, end = max(a.offset, b.offset), min(a.end, b.end) + guard
    return (start, end) if start < end and a.nbytes and b.nbytes else None


def part_start(box: Sequence[tuple[int, int]], shape: Sequence[int], nbytes: int) -> int:
    """Byte of the first element of `box` in a row-major array of `shape` and `nbytes`."""
    element = 0
    for (low, _), size in zip(box, shape, strict=True):
        element = element * size + low
    return element * (nbytes // max(1, math.prod(shape)))


def roots(names: Sequence[str], view_of: Sequence[int | None]) -> list[int]:
    """For each tensor the one that owns its bytes, at the end of its chain of views."""
    known: dict[int, int] = {}
    for row in range(len(names)):
        chain, root = dict[int, None](), row
        while root not in known and (base := view_of[root]) is not None:
            if root in chain:
                raise PlanError(f"{names[row]!r} is a view of itself")
            chain[root] = None
            root = base
        known |= dict.fromkeys((root, *chain), known.get(root, root))
    return [known[row] for row in range(len(names))]


def handovers(table: Table) -> set[Handover]:
    """The declared in-place pairs that do share bytes, between the owners of those bytes.

    One tensor's lifetime begins at the op and the other's ends there, else it is no handover.
    """
    found = set()
    for i, op in enumerate(table.ops):
        for write, read in op.in_place:
            taker, giver = table.tensors[write].root, table.tensors[read].root
            starts, ends = table.tensors[taker].first == i, table.tensors[giver].last == i + 1
            meet = shared(table.tensors[write], table.tensors[read])
            if taker != giver and starts and ends and meet:
                found.add(Handover(i, taker, giver))
    return found
