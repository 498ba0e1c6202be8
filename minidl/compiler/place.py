"""Offsets for buffers with known lifetimes: static storage allocation in one arena."""

from __future__ import annotations

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


REPAIRS = 60
"""Rounds of repair of one greedy order."""


def place(blocks: Sequence[Block]) -> list[int]:
    """An offset for each block, none overlapping in bytes and in time.

    A portfolio of greedy placements, then repairs of each order; stops at the first placement
    that reaches the load, the lower bound of all; else returns the lowest.
    """
    bound, best = max_load(blocks), Candidate(-1, [])
    for rounds in (1, REPAIRS):
        for rank in ORDERS:
            for fit in (_lowest_gap, _tightest_gap):
                order = sorted(range(len(blocks)), key=lambda i: rank(blocks[i]))
                found = _repaired(blocks, order, fit, bound, rounds)
                if best.height < 0 or found.height < best.height:
                    best = found
                if best.height == bound:
                    return best.offsets
    return best.offsets


@dataclass(frozen=True, slots=True)
class Candidate:
    """A valid placement."""

    height: int
    offsets: list[int]


def _repaired(
    blocks: Sequence[Block], order: list[int], fit: Fit, bound: int, rounds: int
) -> Candidate:
    """The lowest of `rounds` greedy placements, each with the blocks that stuck out of the bound
    before moved to the front of its order (squeaky wheel: Joslin and Clements 1999)."""
    best = Candidate(-1, [])
    seen: set[tuple[int, ...]] = set()
    for _ in range(rounds):
        if tuple(order) in seen:
            break
        seen.add(tuple(order))
        offsets = _greedy(blocks, order, fit)
        height = top(blocks, offsets)
        if best.height < 0 or height < best.height:
            best = Candidate(height, offsets)
        if height == bound:
            break
        order = sorted(order, key=lambda i: offsets[i] + blocks[i].size <= bound)
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


def _greedy(blocks: Sequence[Block], order: Sequence[int], fit: Fit) -> list[int]:
    """Place the blocks in that order, each into a gap between those alive at the same time."""
    offsets = [0] * len(blocks)
    placed: list[int] = []
    for i in order:
        life = blocks[i].life
        beside = ((offsets[j], blocks[j].size) for j in placed if blocks[j].life.overlaps(life))
        offsets[i] = fit(_gaps(sorted(beside)), blocks[i].size)
        placed.append(i)
    return offsets


def _gaps(taken: list[tuple[int, int]]) -> list[Gap]:
    gaps: list[Gap] = []
    end = 0
    for offset, size in taken:
        if offset > end:
            gaps.append((end, offset))
        end = max(end, offset + size)
    return [*gaps, (end, None)]


def _lowest_gap(gaps: list[Gap], size: int) -> int:
    return next(start for start, end in gaps if end is None or end - start >= size)


def _tightest_gap(gaps: list[Gap], size: int) -> int:
    fitting = [(end - start, start) for start, end in gaps if end is not None and end - start >= size]
    return min(fitting)[1] if fitting else gaps[-1][0]
