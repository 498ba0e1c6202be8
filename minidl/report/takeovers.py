"""Takeovers: for every tensor of a plan, what had its bytes before."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from minidl.ir import Array
from minidl.ir.op import Op
from minidl.ir.tensor import Tensor
from minidl.placed.graph import PlacedGraph

SHARE = 10
"""Earlier tenants of less than a tenth of a tensor's bytes are not worth a name."""
NAMED = 3
"""Earlier tenants that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """Where a tensor's bytes come from."""

    in_place: Tensor | None
    """What the op reads last and writes over."""
    reused: tuple[Tensor, ...] = ()
    """Of the tensors dead by then of whose bytes it has a good share, the `NAMED` that died last,
    the last of them first."""
    count: int = 0
    """How many such tensors there are."""


class Takeovers:
    """For every tensor what had its bytes before.

    Owners of bytes stand in classes by size, by offset in each, so that a question looks at those
    near the tensor that are large enough, and not at all of them.
    """

    def __init__(self, plan: PlacedGraph) -> None:
        self.plan = plan
        owners = [t for t in plan.placements if t.view_of is None and t.nbytes]
        owners.sort(key=plan.offset)
        classes: dict[int, list[Tensor]] = {}
        for t in owners:
            classes.setdefault(t.nbytes.bit_length(), []).append(t)
        rank = {t: i for i, t in enumerate(owners)}
        self.owners = owners
        self.classes = [_Class(plan, some, [rank[t] for t in some]) for some in classes.values()]

    def of(self, t: Tensor, op: Op) -> Takeover:
        """What `op`, the first that writes `t`, finds in its bytes."""
        pairs = ((op.writes[k].storage, op.reads[j].storage) for k, j in op.in_place)
        under = next((old for new, old in pairs if new is t and self._gives(old, t)), None)
        place, share = self.plan.placements[t], -(-t.nbytes // SHARE)
        if not share:
            return Takeover(under)
        low, high = place.offset + share, place.offset + t.nbytes - share
        found = [each.tenants(low, high, share, place.first) for each in self.classes]
        latest = sorted((pair for pairs, _ in found for pair in pairs), key=lambda p: (-p[0], p[1]))
        named = tuple(self.owners[rank] for _, rank in latest[:NAMED])
        return Takeover(under, named, sum(count for _, count in found))

    def _gives(self, old: Tensor, new: Tensor) -> bool:
        a, b = self.plan.placements[old], self.plan.placements[new]
        return a.offset == b.offset and a.last == b.first + 1


class _Class:
    """Owners of about the same size, by offset."""

    def __init__(self, plan: PlacedGraph, owners: Iterable[Tensor], ranks: list[int]) -> None:
        owners = list(owners)
        self.ranks, self.starts = ranks, [plan.offset(t) for t in owners]
        self.largest = max(t.nbytes for t in owners)
        self.sizes: Array = np.array([t.nbytes for t in owners], np.int64)
        self.ends: Array = np.array(self.starts, np.int64) + self.sizes
        self.last: Array = np.array([plan.placements[t].last for t in owners], np.int64)
        self.keys: Array = self.last * (len(plan.placements) + 1) - np.array(ranks, np.int64)
        """The larger, the later it died; of two that died together the first is."""

    def tenants(
        self, low: int, high: int, share: int, by: int
    ) -> tuple[list[tuple[int, int]], int]:
        """Of the owners of `share` bytes or more that begin at `high` or before, end at `low` or
        behind and were dead at position `by`: when those `NAMED` died that died last, with their
        ranks, and how many there are."""
        if self.largest < share:
            return [], 0
        begin = bisect_left(self.starts, low - self.largest)
        near = slice(begin, bisect_right(self.starts, high, begin))
        if near.start == near.stop:
            return [], 0
        meets = (self.last[near] <= by) & (self.ends[near] >= low) & (self.sizes[near] >= share)
        places = np.flatnonzero(meets) + begin
        count = len(places)
        if count > NAMED:
            keys = self.keys[places]
            places = places[np.argpartition(keys, count - NAMED)[count - NAMED :]]
        return [(int(self.last[i]), self.ranks[i]) for i in places.tolist()], count
