"""Offsets for buffers with known lifetimes: static storage allocation in one arena."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from minidl.compiler.lifetimes import Lifetime


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes that must hold for a lifetime; `size` is a multiple of the alignment."""

    size: int
    life: Lifetime

    @property
    def length(self) -> int:
        return self.life.last - self.life.first


Rank = Callable[[Block, int], tuple[int, ...]]
"""Sorts blocks; the integer is the most bytes live at once within the block's lifetime."""

RANKS: tuple[Rank, ...] = (
    lambda b, crowd: (-crowd, -b.length),
    lambda b, _: (-b.size, -b.length),
    lambda b, _: (-b.length, -b.size),
    lambda b, _: (-b.size * b.length,),
    lambda b, _: (b.life.first, -b.size),
    lambda b, _: (-b.life.last, -b.size),
)
"""Orders in which the greedy placements are tried, largest first being the best single one
(Pisarchyk and Lee 2020, greedy by size) on other graphs; here what lives through the peak comes
first."""


EFFORT = 8_000_000
"""Pairs of blocks that repair may look at: about a second."""

STARTS = 4
"""Greedy placements that get a short repair, lowest first, before the lowest gets a long one."""


def place(blocks: Sequence[Block], effort: int = EFFORT) -> list[int]:
    """An offset for each block, none overlapping in bytes and in time.

    A portfolio of greedy placements, then repairs of the lowest; stops at the first placement
    that reaches the load, the lower bound of all; else returns the lowest found.
    """
    bound, beside, crowds = max_load(blocks), _alive_together(blocks), _crowds(blocks)
    found: list[Candidate] = []
    for rank in RANKS:
        order = sorted(range(len(blocks)), key=lambda i: rank(blocks[i], crowds[i]))
        for fit in _fits(bound):
            found.append(_greedy(blocks, beside, order, fit))
            if found[-1].height == bound:
                return found[-1].offsets
    rounds = effort // max(1, len(blocks) ** 2)
    lowest = sorted(found, key=lambda c: c.height)
    short = [(start, (start.fit,), rounds // 10) for start in lowest[:STARTS]]
    for start, fits, share in (*short, (lowest[0], _fits(bound), rounds)):
        found.append(_repaired(blocks, beside, start, fits, bound, share))
        if found[-1].height == bound:
            break
    return min(found, key=lambda c: c.height).offsets


@dataclass(frozen=True, slots=True)
class Candidate:
    """A valid placement, and the order and fit that gave it."""

    height: int
    offsets: list[int]
    order: list[int]
    fit: Fit


def _repaired(
    blocks: Sequence[Block],
    beside: list[list[int]],
    best: Candidate,
    fits: tuple[Fit, ...],
    bound: int,
    rounds: int,
) -> Candidate:
    """The lowest of `rounds` greedy placements from changed orders: what stuck out of the bound
    comes first next time (squeaky wheel, Joslin and Clements 1999), and one block at random."""
    chance = random.Random(0)
    order = best.order
    for _ in range(rounds):
        found = _greedy(blocks, beside, order, chance.choice(fits))
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
    return max(_loads(blocks), default=0)


def _loads(blocks: Sequence[Block]) -> list[int]:
    """Bytes live at each position."""
    change = [0] * (1 + max((b.life.last for b in blocks), default=0))
    for b in blocks:
        change[b.life.first] += b.size
        change[b.life.last] -= b.size
    return list(accumulate(change))


def _crowds(blocks: Sequence[Block]) -> list[int]:
    """For each block the most bytes live at one position of its lifetime."""
    loads = _loads(blocks)
    return [max(loads[b.life.first : b.life.last]) for b in blocks]


def top(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    """The end of the highest block."""
    return max((o + b.size for o, b in zip(offsets, blocks, strict=True)), default=0)


Gap = tuple[int, int | None]
"""Start and end of free bytes; the last gap has no end."""

Fit = Callable[[list[Gap], int], int]


def _alive_together(blocks: Sequence[Block]) -> list[list[int]]:
    """For each block the others whose lifetimes overlap its own."""
    lives = [(b.life.first, b.life.last) for b in blocks]
    return [
        [j for j, (low, high) in enumerate(lives) if low < last and first < high and j != i]
        for i, (first, last) in enumerate(lives)
    ]


def _greedy(
    blocks: Sequence[Block], beside: list[list[int]], order: list[int], fit: Fit
) -> Candidate:
    """Place the blocks in that order, each into a gap between those alive at the same time."""
    offsets = [-1] * len(blocks)
    sizes = [b.size for b in blocks]
    for i in order:
        taken = sorted([(offsets[j], sizes[j]) for j in beside[i] if offsets[j] >= 0])
        offsets[i] = fit(_gaps(taken), sizes[i])
    return Candidate(top(blocks, offsets), offsets, order, fit)


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
