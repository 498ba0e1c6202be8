"""Offsets for buffers with known lifetimes: static storage allocation in one arena."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minidl.compiler.lifetimes import Lifetime


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes that must hold for a lifetime; `size` is a multiple of the alignment."""

    size: int
    life: Lifetime

    @property
    def length(self) -> int:
        return self.life.last - self.life.first


Rank = Callable[[Block], tuple[int, ...]]

ORDERS: tuple[Rank, ...] = (
    lambda b: (-b.size, -b.length),
    lambda b: (-b.length, -b.size),
    lambda b: (-b.size * b.length,),
    lambda b: (b.life.first, -b.size),
    lambda b: (-b.life.last, -b.size),
)
"""Orders in which the greedy placements are tried, largest first being the best single one
(Pisarchyk and Lee 2020, greedy by size)."""


EFFORT = 400_000
"""Block placements that repair may spend in all: about a second."""


def place(blocks: Sequence[Block], effort: int = EFFORT) -> list[int]:
    """An offset for each block, none overlapping in bytes and in time.

    A portfolio of greedy placements, then repairs of the lowest; stops at the first placement
    that reaches the load, the lower bound of all; else returns the lowest found.
    """
    bound = max_load(blocks)
    best = Candidate(-1, [], [])
    for rank in ORDERS:
        for fit in _fits(bound):
            found = _greedy(blocks, sorted(range(len(blocks)), key=lambda i: rank(blocks[i])), fit)
            best = found if best.height < 0 or found.height < best.height else best
            if best.height == bound:
                return best.offsets
    return _repaired(blocks, best, bound, effort // max(1, len(blocks))).offsets


@dataclass(frozen=True, slots=True)
class Candidate:
    """A valid placement, and the order of greedy placement that gave it."""

    height: int
    offsets: list[int]
    order: list[int]


def _repaired(blocks: Sequence[Block], best: Candidate, bound: int, rounds: int) -> Candidate:
    """The lowest of `rounds` greedy placements from changed orders: what stuck out of the bound
    comes first next time (squeaky wheel, Joslin and Clements 1999), and one block at random."""
    chance = random.Random(0)
    order = best.order
    for _ in range(rounds):
        found = _greedy(blocks, order, chance.choice(_fits(bound)))
        if found.height < best.height:
            best = found
        if best.height <= bound:
            break
        order = found.order if chance.random() < 0.9 else best.order
        order = sorted(order, key=lambda i: found.offsets[i] + blocks[i].size <= bound)
        order.insert(chance.randrange(len(order)), order.pop(chance.randrange(len(order))))
    return best


def max_load(blocks: Sequence[Block]) -> int:
    """The maximum over positions of the sum of live bytes."""
    change: dict[int, int] = {}
    for b in blocks:
        change[b.life.first] = change.get(b.life.first, 0) + b.size
        change[b.life.last] = change.get(b.life.last, 0) - b.size
    load = peak = 0
    for position in sorted(change):
        load += change[position]
        peak = max(peak, load)
    return peak


def top(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    """The end of the highest block."""
    return max((o + b.size for o, b in zip(offsets, blocks, strict=True)), default=0)


Gap = tuple[int, int | None]
"""Start and end of free bytes; the last gap has no end."""

Fit = Callable[[list[Gap], int], int]


def _greedy(blocks: Sequence[Block], order: list[int], fit: Fit) -> Candidate:
    """Place the blocks in that order, each into a gap between those alive at the same time."""
    offsets = [0] * len(blocks)
    placed: list[int] = []
    for i in order:
        life = blocks[i].life
        beside = ((offsets[j], blocks[j].size) for j in placed if blocks[j].life.overlaps(life))
        offsets[i] = fit(_gaps(sorted(beside)), blocks[i].size)
        placed.append(i)
    return Candidate(top(blocks, offsets), offsets, order)


def _gaps(taken: list[tuple[int, int]]) -> list[Gap]:
    gaps: list[Gap] = []
    end = 0
    for offset, size in taken:
        if offset > end:
            gaps.append((end, offset))
        end = max(end, offset + size)
    return [*gaps, (end, None)]


def _fits(bound: int) -> tuple[Fit, ...]:
    """How to choose a gap; the last two keep small blocks out of the way of large ones."""
    return _lowest_gap, _tightest_gap, _two_ended(bound, 1 / 64), _two_ended(bound, 1 / 8)


def _two_ended(bound: int, share: float) -> Fit:
    """Blocks of at most `share` of the bound hang from it, larger ones stand on the ground."""

    def fit(gaps: list[Gap], size: int) -> int:
        if size <= share * bound:
            for start, end in reversed(gaps):
                end = bound if end is None else min(end, bound)
                if end - start >= size:
                    return end - size
        return _lowest_gap(gaps, size)

    return fit


def _lowest_gap(gaps: list[Gap], size: int) -> int:
    return next(start for start, end in gaps if end is None or end - start >= size)


def _tightest_gap(gaps: list[Gap], size: int) -> int:
    fitting = [
        (end - start, start) for start, end in gaps if end is not None and end - start >= size
    ]
    return min(fitting)[1] if fitting else gaps[-1][0]
