"""Placement of a crowded core by exact search, and of everything else around it.

In a step few positions are full, and what lives there decides the height. These blocks are placed
by search, the rest by greedy methods into what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from minidl.compiler.place.answer import Answer, Impossible, Placed, Undecided
from minidl.compiler.place.blocks import Block
from minidl.compiler.place.exact import decide
from minidl.compiler.place.greedy import RANKS, Candidate, fits, greedy
from minidl.ir import Array

FULL = (0.98, 0.995)
"""Of the height: what lives at a position with more bytes than that is the core. A large core
leaves less that can go wrong, a small one is sooner placed: both are tried."""

MOST_NODES = 3000
"""Of the search for a core."""


def core_of(crowd: list[int], height: int, full: float = FULL[0]) -> list[int]:
    """The blocks that live at a full position."""
    return [i for i, most in enumerate(crowd) if most > full * height]


def around_a_core(
    blocks: Sequence[Block], beside: list[Array], crowd: list[int], height: int, nodes: int
) -> tuple[Answer, list[Candidate]]:
    """As `exact.decide`, for many blocks of which few are crowded; and placements that may be a
    start for repair. Impossible is a proof: what does not fit without the rest does not fit with
    it."""
    used, starts = 0, list[Candidate]()
    for full in FULL:
        core = core_of(crowd, height, full)
        answer = decide([blocks[i] for i in core], height, min(nodes, MOST_NODES))
        used += answer.nodes
        if isinstance(answer, Impossible):
            why = f"{len(core)} of {len(blocks)} blocks alone: {answer.why}"
            return Impossible(why, used), starts
        if isinstance(answer, Placed):
            order = sorted(range(len(core)), key=answer.offsets.__getitem__)
            starts.append(_rest(blocks, beside, crowd, [core[k] for k in order], height))
            if starts[-1].height <= height:
                return Placed(starts[-1].offsets, used), starts
    return Undecided(used), sorted(starts, key=lambda c: c.height)


def _rest(
    blocks: Sequence[Block],
    beside: list[Array],
    crowd: list[int],
    start: list[int],
    height: int,
) -> Candidate:
    """The lowest greedy placement that places `start` first."""
    placed, found = set(start), list[Candidate]()
    for rank in RANKS.values():
        rest = [i for i in range(len(blocks)) if i not in placed]
        rest.sort(key=lambda i: rank(blocks[i], crowd[i]))
        for fit in fits(height).values():
            found.append(greedy(blocks, beside, [*start, *rest], fit))
            if found[-1].height <= height:
                return found[-1]
    return min(found, key=lambda c: c.height)
