"""Exact placement: a search through all placements for one of a given height.

After MiniMalloc (Moffitt, ASPLOS 2023), written anew: blocks are placed in the order of their
offsets, so that a partial placement has a rising floor under everything to come; a block that
would leave room for another one beneath it is not placed yet; blocks that no longer meet in time
are separate problems. In place of MiniMalloc's test of floor and sum for each section of time, the
bound for jobs with release times: for any offset z, what cannot begin below z must fit above it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidl.compiler.place.blocks import Block
from minidl.ir import Array

ORDERS = ("ew", "ae", "eat", "awt", "to", "wat")
"""Which block is tried first among those that could lie equally low, largest first. e: end, a:
area, t: most bytes live within its lifetime, w: length, o: blocks that it meets. Found by trial on
instances that MiniMalloc is published with: no order is good for all, each is good for some."""

FIRST_LIMIT = 250
"""Nodes of the first search in each order; doubled as long as none of them ends."""

LARGEST = 400
"""Blocks up to which the search is tried: it is as deep as there are blocks."""


def find_placement(blocks: Sequence[Block], height: int, nodes: int) -> list[int] | None:
    """Offsets that end at `height` or below; None if there are none, or not within `nodes`."""
    if not blocks:
        return []
    if len(blocks) > LARGEST:
        return None
    problem, limit = Problem(blocks, height), FIRST_LIMIT
    while nodes > 0:
        for order in ORDERS:
            search = _Search(problem, min(limit, nodes))
            complete = search.run(problem.ranked(order))
            if complete is not None:
                return [int(o) for o in search.offsets] if complete else None
            nodes -= min(limit, nodes)
        limit *= 2
    return None


class Problem:
    """Sizes, sections of time and who meets whom, as arrays. A section is a stretch of positions
    in which no block begins or ends."""

    def __init__(self, blocks: Sequence[Block], height: int) -> None:
        bounds = sorted({p for b in blocks for p in (b.life.first, b.life.last)})
        section = {position: k for k, position in enumerate(bounds)}
        self.height = height
        self.size = np.array([b.size for b in blocks], np.int64)
        self.first = np.array([section[b.life.first] for b in blocks])
        self.last = np.array([section[b.life.last] for b in blocks])
        sections = np.arange(len(bounds) - 1)[:, None]
        self.alive = (self.first <= sections) & (sections < self.last)
        self.alive_size = self.alive * self.size
        self.meet = (self.first[:, None] < self.last) & (self.first < self.last[:, None])

    def ranked(self, order: str) -> Array:
        """The blocks, those first that are to be tried first."""
        load, length = self.alive_size.sum(axis=1), self.last - self.first
        totals = np.array([load[a:b].max() for a, b in zip(self.first, self.last, strict=True)])
        keys = {
            "a": length * self.size,
            "e": self.last,
            "o": self.meet.sum(axis=1),
            "t": totals,
            "w": length,
        }
        return np.lexsort([-keys[letter] for letter in reversed(order)])


class _LimitError(Exception):
    """The nodes are used up."""


class _Search:
    """One depth-first search. Blocks still to be placed are given in the order of their ranks."""

    def __init__(self, problem: Problem, nodes: int) -> None:
        self.problem, self.nodes = problem, nodes
        self.offsets = np.full(len(problem.size), -1, np.int64)

    def run(self, ranked: Array) -> bool | None:
        """Whether there is a placement; None if the nodes did not suffice."""
        low = np.zeros(len(ranked), np.int64)
        try:
            return self._apart(ranked, np.arange(len(ranked)), low, 0, -1)
        except (_LimitError, RecursionError):
            return None

    def _apart(self, blocks: Array, ranks: Array, low: Array, floor: int, rank: int) -> bool:
        """Place `blocks`, of which none may begin below `low`: groups that share no time one by
        one, the smallest first."""
        if not len(blocks):
            return True
        order = np.argsort(self.problem.first[blocks], kind="stable")
        reach = np.maximum.accumulate(self.problem.last[blocks][order])
        cuts = np.flatnonzero(self.problem.first[blocks][order][1:] >= reach[:-1]) + 1
        if not len(cuts):
            return self._place(blocks, ranks, low, floor, rank)
        groups = [np.sort(group) for group in np.split(order, cuts)]
        return all(
            self._place(blocks[g], ranks[g], low[g], floor, rank) for g in sorted(groups, key=len)
        )

    def _place(self, blocks: Array, ranks: Array, low: Array, floor: int, rank: int) -> bool:
        """Choose the block that lies lowest, at `floor` or above."""
        self.nodes -= 1
        if self.nodes < 0:
            raise _LimitError
        beneath = (low + self.problem.size[blocks]).min()
        for k in np.argsort(low, kind="stable"):
            offset = low[k]
            if offset >= beneath:
                return False  # some other block would fit beneath this and all that follow
            if (offset, ranks[k]) < (floor, rank):
                continue  # tried before, in the other order
            rest = np.arange(len(blocks)) != k
            others, block = blocks[rest], blocks[k]
            height = offset + self.problem.size[block]
            raised = np.maximum(
                low[rest], np.where(self.problem.meet[block, others], height, offset)
            )
            if height <= self.problem.height and self._fits(others, raised):
                self.offsets[block] = offset
                if self._apart(others, ranks[rest], raised, offset, ranks[k]):
                    return True
        return False

    def _fits(self, blocks: Array, low: Array) -> bool:
        """For every z in every section: z + what begins at z or above is within the height."""
        if not len(blocks):
            return True
        falling = np.argsort(-low)
        blocks = blocks[falling]
        sections = slice(self.problem.first[blocks].min(), self.problem.last[blocks].max())
        ends = np.cumsum(self.problem.alive_size[sections, blocks], axis=1) + low[falling]
        return not (ends[self.problem.alive[sections, blocks]] > self.problem.height).any()
