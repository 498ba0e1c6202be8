"""Greedy placement: one block after the other, each into a gap between those already placed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minidl.compiler.place.blocks import Block, top
from minidl.ir import Array

Rank = Callable[[Block, int], tuple[int, ...]]
"""Sorts blocks; the integer is the most bytes live at once within the block's lifetime."""

RANKS: dict[str, Rank] = {
    "crowd": lambda b, crowd: (-crowd, -b.length),
    "size": lambda b, _: (-b.size, -b.length),
    "length": lambda b, _: (-b.length, -b.size),
    "area": lambda b, _: (-b.size * b.length,),
    "first": lambda b, _: (b.life.first, -b.size),
    "last": lambda b, _: (-b.life.last, -b.size),
}
"""Orders in which the greedy placements are tried. Largest first is the best single one on other
graphs (Pisarchyk and Lee 2020); here what lives through the peak comes first."""

Fit = Callable[[Array, Array, int], int]
"""Chooses an offset for so many bytes from the starts and ends of the gaps; the last gap is open
and ends at -1."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A valid placement, and the order and fit that gave it."""

    height: int
    offsets: list[int]
    order: list[int]
    fit: Fit


def greedy(blocks: Sequence[Block], beside: list[Array], order: list[int], fit: Fit) -> Candidate:
    """Place the blocks in that order; `beside` are those that live at the same time."""
    sizes = np.array([b.size for b in blocks], np.int64)
    ends = np.full(len(blocks), -1, np.int64)
    starts = ends.copy()
    for i in order:
        near = beside[i]
        near = near[ends[near] >= 0]
        near = near[np.argsort(starts[near], kind="stable")]
        reach = np.maximum.accumulate(ends[near])
        gap_starts = np.concatenate(([0], reach))
        gap_ends = np.concatenate((starts[near], [-1]))
        starts[i] = fit(gap_starts, gap_ends, int(sizes[i]))
        ends[i] = starts[i] + sizes[i]
    offsets = [int(o) for o in starts]
    return Candidate(top(blocks, offsets), offsets, order, fit)


SORTED = 256
"""Blocks that `first_fit` places before it sorts all of them again."""


def first_fit(blocks: Sequence[Block], order: list[int]) -> Candidate:
    """`greedy` with `lowest_gap`, for so many blocks that there is no list of those beside each.

    What is placed stands in one table, nearly sorted by offset, which makes sorting a part short.
    """
    lives = np.array([(b.life.first, b.life.last) for b in blocks], np.int64)[order]
    place = np.zeros((2, len(blocks)), np.int64)  # start and end
    first, last = lives.T.copy()
    offsets = [0] * len(blocks)
    for k, i in enumerate(order):
        near = np.flatnonzero((first[:k] < lives[k, 1]) & (last[:k] > lives[k, 0]))
        starts, ends = place[:, near]
        near = np.argsort(starts, kind="stable")
        gap_starts = np.append(0, np.maximum.accumulate(ends[near]))
        gap_ends = np.append(starts[near], -1)
        offsets[i] = lowest_gap(gap_starts, gap_ends, blocks[i].size)
        place[:, k] = offsets[i], offsets[i] + blocks[i].size
        if k % SORTED == SORTED - 1:
            upwards = np.argsort(place[0, : k + 1], kind="stable")
            for row in (*place, first, last):
                row[: k + 1] = row[upwards]
    return Candidate(top(blocks, offsets), offsets, order, lowest_gap)


def lowest_gap(starts: Array, ends: Array, size: int) -> int:
    """First fit."""
    enough = ends - starts >= size
    enough[-1] = True
    return int(starts[enough.argmax()])


def tightest_gap(starts: Array, ends: Array, size: int) -> int:
    """Best fit: the smallest gap that is large enough."""
    room = ends[:-1] - starts[:-1]
    fitting = np.flatnonzero(room >= size)
    return int(starts[fitting[room[fitting].argmin()]] if fitting.size else starts[-1])


def two_ended(bound: int, share: float) -> Fit:
    """Blocks of at most `share` of the bound hang from it, larger ones stand on the ground: small
    blocks keep out of the way of large ones."""

    def fit(starts: Array, ends: Array, size: int) -> int:
        if size <= share * bound:
            limits = np.minimum(np.where(ends < 0, bound, ends), bound)
            fitting = np.flatnonzero(limits - starts >= size)
            if fitting.size:
                return int(limits[fitting[-1]]) - size
        return lowest_gap(starts, ends, size)

    return fit


def fits(bound: int) -> dict[str, Fit]:
    """The ways to choose a gap, by name."""
    return {
        "first fit": lowest_gap,
        "best fit": tightest_gap,
        "two-ended 1/64": two_ended(bound, 1 / 64),
        "two-ended 1/8": two_ended(bound, 1 / 8),
    }
