"""Depth-first search over skylines, with jumps back to what a failure depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from minidl.compiler.place.skyline import OUTSIDE, Choice, Lift, Put, Skyline, bits


class Stretch(NamedTuple):
    """Sections [first, last) at one floor, and the options there if it is a valley."""

    first: int
    last: int
    floor: int
    choice: Choice | None = None


@dataclass(slots=True)
class _Level:
    """A choice under way: what is left of its options, and why those that were tried failed."""

    outline: list[Stretch]
    valley: int
    tried: int = 0
    reads: int = field(default=0)  # sections
    touched: int = 0  # sections
    done: Put | Lift | None = None

    @property
    def choice(self) -> Choice:
        found = self.outline[self.valley].choice
        assert found is not None
        return found


def search(skyline: Skyline, nodes: int) -> tuple[bool | None, int]:
    """Whether all blocks can be placed, None if `nodes` do not suffice; and the nodes visited.

    A level whose change touches no section that a failure was read from is skipped: whatever else
    is chosen there, the failure stays (conflict-directed backjumping, Prosser 1993).
    """
    if min(skyline.spare) < 0:
        return False, 0
    sections, used = len(skyline.floor), 0
    start = [Stretch(0, sections, 0, skyline.choice(0, sections, OUTSIDE, OUTSIDE))]
    levels = [_Level(start, 0)]
    while levels:
        level = levels[-1]
        if level.done is not None:
            skyline.undo(level.done)
            level.done = None
        if level.tried == len(level.choice.options):
            _jump(levels, skyline)
            continue
        if used == nodes:
            return None, used
        used += 1
        failure, outline, near = _next(level, skyline)
        if skyline.left == 0:
            return True, used
        if failure:
            level.reads |= failure
        else:
            levels.append(_Level(outline, _fewest(outline, near)))
    return False, used


def _jump(levels: list[_Level], skyline: Skyline) -> None:
    """Drop the last level, all of whose options failed, and those that have no part in it."""
    last = levels.pop()
    reads = last.reads | last.choice.reads
    while levels and not levels[-1].touched & reads:
        done = levels.pop().done
        assert done is not None
        skyline.undo(done)
    if levels:
        levels[-1].reads |= reads


def _next(level: _Level, skyline: Skyline) -> tuple[int, list[Stretch], int]:
    """Try the next option: the sections that a failure follows from, or 0 and the new outline."""
    option = level.choice.options[level.tried]
    level.tried += 1
    floor = level.outline[level.valley].floor
    failure = 0
    if isinstance(option, Lift):
        x, y, height = option.first, option.last, option.height
        level.done = option
        failure = skyline.lift(option)
    else:
        x, y, height = skyline.first[option], skyline.last[option], floor + skyline.size[option]
        level.done = skyline.put(option, floor)
    level.touched = bits(x, y)
    if failure or skyline.left == 0:
        return failure, [], x
    outline, low, high = _raised(level.outline, level.valley, x, y, height)
    return _choices(outline, low, high, skyline), outline, x


def _raised(
    outline: list[Stretch], valley: int, x: int, y: int, height: int
) -> tuple[list[Stretch], int, int]:
    """The outline with [x, y) of a valley at `height`, and the range of what is new or has new
    walls."""
    a, b, floor, _ = outline[valley]
    low, high, new = valley, valley + 1, list[Stretch]()
    if x > a:
        new.append(Stretch(a, x, floor))
    elif low and outline[low - 1].floor == height:
        low -= 1
        x = outline[low].first
    if y == b and high < len(outline) and outline[high].floor == height:
        y = outline[high].last
        high += 1
    new.append(Stretch(x, y, height))
    if y < b:
        new.append(Stretch(y, b, floor))
    return [*outline[:low], *new, *outline[high:]], low - 1, low + len(new) + 1


def _choices(outline: list[Stretch], low: int, high: int, skyline: Skyline) -> int:
    """Find the options of valleys in that range; if there are none at one, why."""
    for k in range(max(low, 0), min(high, len(outline))):
        a, b, floor, _ = outline[k]
        left = outline[k - 1].floor if k else OUTSIDE
        right = outline[k + 1].floor if k + 1 < len(outline) else OUTSIDE
        choice = skyline.choice(a, b, left, right) if floor < min(left, right) else None
        outline[k] = Stretch(a, b, floor, choice)
        if choice is not None and not choice.options:
            return choice.reads
    return 0


def _fewest(outline: list[Stretch], near: int) -> int:
    """The valley with the fewest options, of several the nearest to the last change."""
    return min(
        (len(s.choice.options), abs(s.first - near), k)
        for k, s in enumerate(outline)
        if s.choice is not None
    )[2]
