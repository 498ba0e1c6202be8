"""Placement by several methods in turn, until one reaches what no placement can go below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from minidl.compiler.place.answer import Answer, Impossible, Placed, Undecided
from minidl.compiler.place.blocks import Block, crowds, max_load, neighbours, top
from minidl.compiler.place.core import around_a_core, core_of
from minidl.compiler.place.exact import decide
from minidl.compiler.place.greedy import RANKS, Candidate, first_fit, fits, greedy
from minidl.compiler.place.repair import repaired
from minidl.ir import Array

EFFORT = 4_000_000
"""Pairs of blocks that repair may look at, and twice the blocks at the nodes that a search
may visit: about a second each."""

STARTS = 4
"""Greedy placements that get a short repair, lowest first, before the lowest gets a long one."""

SHORT = 100
"""Rounds of a short repair at most."""

NODE = 2
"""Of the effort, for one block at one node of a search."""

FROM_CORE = 30
"""Rounds of repair from a placement around a core."""

LONG = 4000
"""Rounds of a long repair at most."""

MANY = 3000
"""Blocks from which on only first fit is tried, in every order, and neither repair nor search."""

PAIRS = 3 * 10**8
"""Pairs of so many blocks that all their orders may look at, one order at least: all six with
7,000 blocks, one with 17,000."""


def place(blocks: Sequence[Block], effort: int = EFFORT, target: int = 0) -> list[int]:
    """An offset for each block, none overlapping in bytes and in time.

    A portfolio of greedy placements, then searches, then repairs of the lowest. Stops at the first
    placement that reaches the load, the lower bound of all, or `target` bytes; else returns the
    lowest found.
    """
    return lowest(blocks, effort, target)[0]


def fit(blocks: Sequence[Block], height: int, effort: int = EFFORT) -> Answer:
    """Whether the blocks fit into `height` bytes: an offset for each; or a proof that they do not;
    or neither within the effort."""
    if (load := max_load(blocks)) > height:
        return Impossible(f"{load:,} bytes are live at once")
    offsets, answer = lowest(blocks, effort, height)
    return Placed(offsets) if top(blocks, offsets) <= height else answer


def lowest(
    blocks: Sequence[Block], effort: int = EFFORT, target: int = 0
) -> tuple[list[int], Answer]:
    """The lowest placement found, and what the searches say of the target."""
    target = max(target, max_load(blocks))
    if len(blocks) > MANY:
        return _of_many(blocks, target).offsets, Undecided(0)
    beside = neighbours(blocks)
    found = _greedy_ones(blocks, beside, target)
    best = min(found, key=lambda c: c.height)
    if best.height <= target:
        return best.offsets, Undecided(0)
    answer, around = _searched(blocks, beside, target, effort)
    if isinstance(answer, Placed):
        return answer.offsets, answer
    rounds = effort // max(1, len(blocks) ** 2)
    short = min(SHORT, rounds // 10)
    starts = [(c, short) for c in sorted(found, key=lambda c: c.height)[:STARTS]]
    for one, most in [*((c, FROM_CORE) for c in around[:1]), *starts]:
        better = repaired(blocks, beside, one, [one.fit], target, most)
        best = min(best, better, key=lambda c: c.height)
        if best.height <= target:
            return best.offsets, answer
    ways = list(fits(target).values())
    return repaired(blocks, beside, best, ways, target, min(LONG, rounds)).offsets, answer


def _searched(
    blocks: Sequence[Block], beside: list[Array], target: int, effort: int
) -> tuple[Answer, list[Candidate]]:
    """A search for all blocks; where few are crowded for these first, and for all only with more
    than the usual effort."""
    crowd, nodes = crowds(blocks), effort // (NODE * len(blocks))
    if 2 * len(core_of(crowd, target)) > len(blocks):
        return decide(blocks, target, nodes), []
    answer, around = around_a_core(blocks, beside, crowd, target, nodes)
    if isinstance(answer, Undecided) and effort > EFFORT:
        return decide(blocks, target, nodes), around
    return answer, around


def _greedy_ones(blocks: Sequence[Block], beside: list[Array], target: int) -> list[Candidate]:
    """Greedy placements in every order and by every fit, up to the first that is good enough."""
    found = []
    for order in _orders(blocks):
        for fit in fits(target).values():
            found.append(greedy(blocks, beside, order, fit))
            if found[-1].height <= target:
                return found
    return found


def _of_many(blocks: Sequence[Block], target: int) -> Candidate:
    """The lowest placement by first fit, of all orders up to the first that is good enough, or to
    what may be spent."""
    found, tries = list[Candidate](), max(1, PAIRS // len(blocks) ** 2)
    for order in islice(_orders(blocks), tries):
        found.append(first_fit(blocks, order))
        if found[-1].height <= target:
            break
    return min(found, key=lambda c: c.height)


def _orders(blocks: Sequence[Block]) -> Iterator[list[int]]:
    crowd = crowds(blocks)
    for rank in RANKS.values():
        yield sorted(range(len(blocks)), key=lambda i: rank(blocks[i], crowd[i]))
