"""Placement by several methods in turn, until one reaches what no placement can go below."""

from __future__ import annotations

from collections.abc import Sequence

from minidl.compiler.place.blocks import Block, crowds, max_load, neighbours
from minidl.compiler.place.exact import find_placement
from minidl.compiler.place.greedy import RANKS, Candidate, fits, greedy, lowest_gap
from minidl.compiler.place.repair import repaired
from minidl.ir import Array

EFFORT = 4_000_000
"""Pairs of blocks that repair may look at, and 2,000 times the nodes that the exact search may:
about a second each."""

STARTS = 4
"""Greedy placements that get a short repair, lowest first, before the lowest gets a long one."""

SHORT = 100
"""Rounds of a short repair at most."""

MANY = 3000
"""Blocks from which on only first fit is tried, in every order, and neither repair nor search."""


def place(blocks: Sequence[Block], effort: int = EFFORT, target: int = 0) -> list[int]:
    """An offset for each block, none overlapping in bytes and in time.

    A portfolio of greedy placements, then the exact search, then repairs of the lowest. Stops at
    the first placement that reaches the load, the lower bound of all, or `target` bytes; else
    returns the lowest found.
    """
    target = max(target, max_load(blocks))
    beside = neighbours(blocks)
    found = _greedy_ones(blocks, beside, target)
    best = min(found, key=lambda c: c.height)
    if best.height <= target or len(blocks) > MANY:
        return best.offsets
    rounds = effort // max(1, len(blocks) ** 2)
    ways = list(fits(target).values())
    for start in sorted(found, key=lambda c: c.height)[:STARTS]:
        better = repaired(blocks, beside, start, [start.fit], target, min(SHORT, rounds // 10))
        best = min(best, better, key=lambda c: c.height)
        if best.height <= target:
            return best.offsets
    exact = find_placement(blocks, target, effort // 2000)
    if exact is not None:
        return exact
    return repaired(blocks, beside, best, ways, target, rounds).offsets


def _greedy_ones(blocks: Sequence[Block], beside: list[Array], target: int) -> list[Candidate]:
    """Greedy placements in every order and by every fit, up to the first that is good enough."""
    crowd, found = crowds(blocks), []
    ways = list(fits(target).values()) if len(blocks) <= MANY else [lowest_gap]
    for rank in RANKS.values():
        order = sorted(range(len(blocks)), key=lambda i: rank(blocks[i], crowd[i]))
        for fit in ways:
            found.append(greedy(blocks, beside, order, fit))
            if found[-1].height <= target:
                return found
    return found
