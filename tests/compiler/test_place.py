"""place: never an overlap, the optimum on small instances, never below the load."""

from __future__ import annotations

import random
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.compiler.lifetimes import Lifetime
from minidl.compiler.place import Block, max_load, place, top
from minidl.compiler.place.blocks import crowds, neighbours
from minidl.compiler.place.greedy import SORTED, first_fit, greedy, lowest_gap

QUICK = settings(deadline=None, derandomize=True, max_examples=60)
EFFORT = 3000


def blocks(most: int, sizes: st.SearchStrategy[int], end: int) -> st.SearchStrategy[list[Block]]:
    life = st.tuples(st.integers(0, end), st.integers(0, end)).map(
        lambda ends: Lifetime(min(ends), max(ends) + 1)
    )
    return st.lists(st.builds(Block, sizes, life), max_size=most)


def overlaps(found: list[Block], offsets: list[int]) -> bool:
    """Byte by byte and position by position."""
    cells: set[tuple[int, int]] = set()
    for block, offset in zip(found, offsets, strict=True):
        mine = {
            (byte, position)
            for byte in range(offset, offset + block.size)
            for position in range(block.life.first, block.life.last)
        }
        if cells & mine:
            return True
        cells |= mine
    return False


def optimum(found: list[Block]) -> int:
    """The lowest height of all: some order of lowest-fit placements reaches it, that by offset."""
    return min((_height(order) for order in permutations(found)), default=0)


def _height(order: tuple[Block, ...]) -> int:
    put: list[tuple[int, Block]] = []
    for block in order:
        beside = [(o, b.size) for o, b in put if b.life.overlaps(block.life)]
        offset = min(
            start
            for start in [0, *(o + size for o, size in beside)]
            if all(start >= o + size or start + block.size <= o for o, size in beside)
        )
        put.append((offset, block))
    return max((o + b.size for o, b in put), default=0)


def load(found: list[Block]) -> int:
    positions = range(max((b.life.last for b in found), default=0))
    live = (sum(b.size for b in found if b.life.first <= p < b.life.last) for p in positions)
    return max(live, default=0)


@QUICK
@given(blocks(12, st.integers(1, 24), 10))
def test_no_two_blocks_overlap(found: list[Block]) -> None:
    offsets = place(found, EFFORT)
    assert len(offsets) == len(found)
    assert min(offsets, default=0) >= 0
    assert not overlaps(found, offsets)
    assert max_load(found) == load(found) <= top(found, offsets)


@QUICK
@given(blocks(40, st.integers(1, 10**9), 60))
def test_no_two_of_many_overlap(found: list[Block]) -> None:
    offsets = place(found, EFFORT)
    ends = [o + b.size for o, b in zip(offsets, found, strict=True)]
    for i, j in combinations(range(len(found)), 2):
        if found[i].life.overlaps(found[j].life):
            assert ends[i] <= offsets[j] or ends[j] <= offsets[i]
    assert top(found, offsets) == max(ends, default=0) >= load(found)


@QUICK
@given(blocks(6, st.integers(1, 9), 6))
def test_the_optimum_of_small_instances(found: list[Block]) -> None:
    assert top(found, place(found, EFFORT)) == optimum(found)


def of(*rows: tuple[int, int, int]) -> list[Block]:
    return [Block(size, Lifetime(first, last)) for size, first, last in rows]


KNOWN: dict[str, tuple[list[Block], int]] = {
    "none": ([], 0),
    "one": (of((5, 0, 3)), 5),
    "one after the other": (of((5, 0, 3), (7, 3, 4)), 7),
    "side by side": (of((5, 0, 4), (7, 3, 4)), 12),
    "stack": (of((8, 0, 6), (4, 1, 5), (2, 2, 4), (1, 3, 4)), 15),
    "forward and back": (
        of(*((4, i, 12 - i) for i in range(6)), *((8, i, i + 1) for i in range(6))),
        32,
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_optimum(name: str) -> None:
    found, best = KNOWN[name]
    assert top(found, place(found)) == best


def test_an_optimum_above_the_load() -> None:
    """No placement reaches the load of these eight, 12 bytes; the best of all orders has 13."""
    early, late = of((3, 1, 3), (4, 0, 2), (2, 2, 4), (4, 0, 8)), of((3, 4, 6), (2, 3, 5))
    found = early + late + of((3, 2, 5), (4, 5, 9))
    assert max_load(found) == load(found) == 12
    assert top(found, place(found, EFFORT)) == optimum(found) == 13


@QUICK
@given(blocks(12, st.integers(0, 5), end=10))
def test_crowds(found: list[Block]) -> None:
    live = [sum(b.size for b in found if b.life.first <= p < b.life.last) for p in range(11)]
    assert crowds(found) == [max(live[b.life.first : b.life.last]) for b in found]


@pytest.mark.parametrize("seed", range(3))
def test_first_fit_of_many_is_that_of_few(seed: int) -> None:
    chance = random.Random(seed)
    starts = [chance.randrange(40) for _ in range(SORTED + 30)]
    found = [Block(chance.randrange(9), Lifetime(a, a + chance.randint(1, 40))) for a in starts]
    order = chance.sample(range(len(found)), len(found))
    few = greedy(found, neighbours(found), order, lowest_gap)
    assert first_fit(found, order).offsets == few.offsets


def test_the_same_blocks_get_the_same_offsets() -> None:
    found = of(*((1 + 7 * i % 13, i % 5, i % 5 + 1 + i % 4) for i in range(30)))
    assert place(found, EFFORT) == place(found, EFFORT)
