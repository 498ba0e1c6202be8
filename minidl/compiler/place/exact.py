"""Exact placement: whether blocks fit into a height, decided by search.

Blocks that share no time are separate problems. Each is searched in several orders of its blocks,
in turn, with limits that double; first at its load, where a search is short because nothing may be
left unused, then at the height that is asked for. What fits at the load fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minidl.compiler.place.answer import Answer, Impossible, Placed, Undecided
from minidl.compiler.place.blocks import Block, crowds, max_load
from minidl.compiler.place.search import search
from minidl.compiler.place.skyline import Skyline

ORDERS: tuple[tuple[bool, Callable[[Block, int], tuple[int, ...]]], ...] = (
    (True, lambda b, _: (-b.length, -b.size)),
    (False, lambda b, crowd: (-crowd,)),
    (False, lambda b, _: (b.length,)),
    (False, lambda b, _: (-b.size * b.length,)),
    (True, lambda b, crowd: (-crowd, -b.length)),
    (True, lambda b, _: (b.size, -b.length)),
)
"""Which block is tried first; the integer is the most bytes live at once within its lifetime. And
whether only sections count whose blocks are not all alive in a neighbouring one: that is as exact
and shorter, but makes other valleys, which is sometimes worse."""

FIRST_LIMIT = 1000
"""Nodes of the first search in each order; doubled as long as none of them ends."""


def decide(blocks: Sequence[Block], height: int, nodes: int) -> Answer:
    """Offsets that end at `height` or below; a proof that there are none; or neither within
    `nodes`."""
    load = max_load(blocks)
    if load > height:
        return Impossible(f"{load:,} bytes are live at once")
    offsets, used, undecided = [0] * len(blocks), 0, False
    for group in _apart(blocks, [i for i, b in enumerate(blocks) if b.size]):
        answer = _decide_group([blocks[i] for i in group], height, nodes - used)
        used += answer.nodes
        if isinstance(answer, Impossible):
            return Impossible(answer.why, used)
        if isinstance(answer, Undecided):
            undecided = True  # another group may be proven not to fit
        else:
            for i, offset in zip(group, answer.offsets, strict=True):
                offsets[i] = offset
    return Undecided(used) if undecided else Placed(offsets, used)


def _apart(blocks: Sequence[Block], among: list[int]) -> list[list[int]]:
    """Indices in groups that share no time, in the order of time."""
    groups: list[list[int]] = []
    reach = 0
    for i in sorted(among, key=lambda i: blocks[i].life.first):
        if not groups or blocks[i].life.first >= reach:
            groups.append([])
        groups[-1].append(i)
        reach = max(reach, blocks[i].life.last)
    return groups


def _decide_group(blocks: list[Block], height: int, nodes: int) -> Answer:
    crowd, used, limit = crowds(blocks), 0, FIRST_LIMIT
    heights = sorted({max_load(blocks), height})
    while used < nodes:
        for few, order in ORDERS:
            ranked = sorted(range(len(blocks)), key=lambda i: order(blocks[i], crowd[i]))
            for tried in tuple(heights):
                skyline = _skyline([blocks[i] for i in ranked], tried, few)
                found, spent = search(skyline, min(limit, nodes - used))
                used += spent
                if found:
                    offset = dict(zip(ranked, skyline.offset, strict=True))
                    return Placed([offset[i] for i in range(len(blocks))], used)
                if found is False and tried == height:
                    return Impossible("all placements were searched", used)
                if found is False:
                    heights.remove(tried)
        limit *= 2
    return Undecided(used)


def _skyline(blocks: list[Block], height: int, few: bool) -> Skyline:
    """Nothing placed yet. A section is a stretch in which no block begins or ends; with `few`, one
    whose blocks are all alive in a neighbouring one is left out."""
    begins = {b.life.first for b in blocks}
    ends = {b.life.last for b in blocks}
    section, count, grown = dict[int, int](), 0, False
    for position in sorted(begins | ends):
        if grown and (position in ends or not few):
            count, grown = count + 1, False
        section[position] = count
        grown = grown or not few or position in begins
    return Skyline(
        [section[b.life.first] for b in blocks],
        [section[b.life.last] for b in blocks],
        [b.size for b in blocks],
        height,
    )
