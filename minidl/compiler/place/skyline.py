"""A partial placement as a skyline: everything placed lies below it, everything to come above.

Time is cut into sections; the skyline has a floor in each. A valley is a stretch of equal floors
between higher ones. In a placement where nothing can be moved down, the lowest left corner of a
valley is covered by a block that begins there and fits between the walls, or by nothing up to
where the next block can rest; the same holds for its right corner, and a section without bytes to
spare must be covered where it is. So each valley has a short list of options, one of which is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

OUTSIDE = 1 << 62
"""The wall before the first section and behind the last one."""


class Lift(NamedTuple):
    """Nothing lies in sections [first, last) from `floor` to `height`."""

    first: int
    last: int
    floor: int
    height: int


class Put(NamedTuple):
    """A block is placed, with what it takes to remove it again."""

    block: int
    beneath: tuple[int, int]
    solid: list[int]


class Choice(NamedTuple):
    """The options at a valley, blocks or lifts, and the sections that they follow from, as bits."""

    options: list[int | Lift]
    reads: int


def bits(first: int, last: int) -> int:
    """Sections [first, last) as bits, clipped at 0."""
    first = max(first, 0)
    return ((1 << last) - 1) >> first << first


class Skyline:
    """Blocks are numbered in the order in which they are tried; lifetimes are in sections."""

    def __init__(
        self, first: Sequence[int], last: Sequence[int], size: Sequence[int], height: int
    ) -> None:
        count, sections = len(size), max(last)
        self.first, self.last, self.size = first, last, size
        self.floor = [0] * sections
        self.solid = [0] * sections  # the floor without what was lifted
        self.spare = [height] * sections  # bytes that may still be lifted
        self.free = [True] * count
        self.left = count
        self.offset = [0] * count
        self.begins: list[list[int]] = [[] for _ in range(sections)]
        self.alive: list[list[int]] = [[] for _ in range(sections)]
        kinds: dict[tuple[int, int], int] = {}
        self.kind = [kinds.setdefault(life, len(kinds)) for life in zip(first, last, strict=True)]
        self.highest = [(-1, -1)] * len(kinds)  # of each lifetime: end and number, placed last
        for j in range(count):
            self.begins[first[j]].append(j)
            for k in range(first[j], last[j]):
                self.spare[k] -= size[j]
                self.alive[k].append(j)

    def put(self, j: int, floor: int) -> Put:
        """Place block `j`."""
        x, y, end = self.first[j], self.last[j], floor + self.size[j]
        done = Put(j, self.highest[self.kind[j]], self.solid[x:y])
        self.highest[self.kind[j]] = (end, j)
        self.free[j] = False
        self.left -= 1
        self.offset[j] = floor
        self.floor[x:y] = self.solid[x:y] = [end] * (y - x)
        return done

    def lift(self, lift: Lift) -> int:
        """Leave bytes unused; if a block still to be placed would fit there, its sections."""
        x, y, floor, height = lift
        self.floor[x:y] = [height] * (y - x)
        for k in range(x, y):
            self.spare[k] -= height - floor
        for k in range(x, y):
            room = height - self.solid[k]
            for j in self.alive[k] if k == x else self.begins[k]:
                if self.size[j] <= room and self.free[j]:
                    a, b = self.first[j], self.last[j]
                    if max(self.solid[a:b]) + self.size[j] <= min(self.floor[a:b]):
                        return bits(a - 1, b + 1)
        return 0

    def undo(self, done: Put | Lift) -> None:
        """Take back what was done last."""
        if isinstance(done, Lift):
            x, y, floor, height = done
            for k in range(x, y):
                self.spare[k] += height - floor
        else:
            j = done.block
            x, y, floor = self.first[j], self.last[j], self.offset[j]
            self.solid[x:y] = done.solid
            self.highest[self.kind[j]] = done.beneath
            self.free[j] = True
            self.left += 1
        self.floor[x:y] = [floor] * (y - x)

    def choice(self, a: int, b: int, left: int, right: int) -> Choice | None:
        """The fewest options at the valley of sections [a, b); None if there is nothing to do."""
        wall, floor = min(left, right), self.floor[a]
        last = self.last
        inside = [j for begin in self.begins[a:b] for j in begin if self.free[j] and last[j] <= b]
        if not inside and wall == OUTSIDE:
            return None
        if wall < OUTSIDE:
            full = self._filled(a, b, inside)
            reached = min(full)
            if reached < wall - floor:
                return Choice([], self._reads(a, b, a + full.index(reached)))
            if not inside:
                return Choice([Lift(a, b, floor, wall)], bits(a - 1, b + 1))
        best = self._corner(a, b, wall, inside, left=True)
        if len(best.options) > 1:
            other = self._corner(a, b, wall, inside, left=False)
            best = min(best, other, key=lambda c: len(c.options))
        if len(best.options) > 2:
            tight = self._tight(a, b, wall, inside)
            if tight is not None and len(tight.options) < len(best.options):
                return tight
        return best

    def _filled(self, a: int, b: int, inside: list[int]) -> list[int]:
        """For each section of a valley the bytes that can lie there or be left unused."""
        filled = self.spare[a:b]
        for j in inside:
            size = self.size[j]
            for k in range(self.first[j] - a, self.last[j] - a):
                filled[k] += size
        return filled

    def _reads(self, a: int, b: int, k: int) -> int:
        """What options at section `k` follow from: it and the walls, if none of its bytes may be
        left unused."""
        return bits(a - 1, b + 1) if self.spare[k] else (1 << a >> 1) | (1 << k) | (1 << b)

    def _corner(self, a: int, b: int, wall: int, inside: list[int], left: bool) -> Choice:
        first, last, floor = self.first, self.last, self.floor[a]
        if left:
            here = [j for j in inside if first[j] == a]
            others = [j for j in inside if first[j] > a]
            x, y = a, min((first[j] for j in others), default=b)
        else:
            here = [j for j in inside if last[j] == b]
            others = [j for j in inside if last[j] < b]
            x, y = max((last[j] for j in others), default=a), b
        rest = min((self.size[j] for j in others), default=OUTSIDE)
        options, all_rest = self._standing(here, floor)
        height = min(wall, floor + rest)
        if height < OUTSIDE and height - floor <= min(self.spare[x:y]):
            options.append(Lift(x, y, floor, height))
        reads = self._reads(a, b, a if left else b - 1) if all_rest else bits(a - 1, b + 1)
        return Choice(options, reads)

    def _tight(self, a: int, b: int, wall: int, inside: list[int]) -> Choice | None:
        """The options at the section with the least to spare, if none of it may be lifted."""
        spare, floor = self.spare[a:b], self.floor[a]
        least = min(spare)
        if least >= min(wall - floor, *(self.size[j] for j in inside)):
            return None
        k = a + spare.index(least)
        options, all_rest = self._standing(
            sorted(j for j in inside if self.first[j] <= k < self.last[j]), floor
        )
        return Choice(options, self._reads(a, b, k) if all_rest else bits(a - 1, b + 1))

    def _standing(self, blocks: list[int], floor: int) -> tuple[list[int | Lift], bool]:
        """Of `blocks` those that are to be tried at `floor`: of equal ones the first; of those with
        one lifetime in the order of their numbers; none that could be moved down. And whether none
        could."""
        tried: set[tuple[int, int]] = set()
        options: list[int | Lift] = []
        all_rest = True
        for j in blocks:
            same = self.kind[j], self.size[j]
            if same in tried:
                continue
            end, beneath = self.highest[self.kind[j]]
            if end == floor:
                if beneath > j:
                    continue
            elif max(self.solid[self.first[j] : self.last[j]]) < floor:
                all_rest = False
                continue
            tried.add(same)
            options.append(j)
        return options, all_rest
