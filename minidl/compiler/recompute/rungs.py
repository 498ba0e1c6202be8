"""Which choices of a front become plans: all along it for a curve, around a budget, at the end."""

from __future__ import annotations

from minidl.compiler.recompute.choose import Front
from minidl.compiler.recompute.search import Choice

TRIES = 4
"""Choices of recomputation that are ordered for one answer: orders may save what the search for
choices does not see."""

BLURRED = 1.1
"""How much above a budget a choice may be, in the order as it was, that is still tried."""

ALIKE = 1.03
"""How much higher a choice may be, in the order as it was, that another order may make the best."""

AS_LOW = 1.01
"""The same for the lowest choice of all."""

DEARER = 0.98
"""Work of a plan of a curve, at most, of the next: else the next is as good for its work."""

RUNGS = 10
"""Plans of a curve, at most."""


def rungs(front: Front) -> list[Choice]:
    """Choices all along the front, least work first: that without work, the cheap one, and those
    at equal steps of bytes below it, by ratio."""
    low, high = front.choices[-1].peak, front.cheap.peak
    steps = RUNGS - 2
    found = [front.choices[-1]]
    for k in range(steps - 1, 0, -1):
        level = int(high * (low / high) ** (k / steps))
        choice = next(c for c in front.choices if c.peak <= max(level, low))
        if choice.work < DEARER * found[-1].work:
            found.append(choice)
    return sorted({*found, front.cheap, front.choices[0]}, key=lambda c: c.work)


def promising(front: Front, work: float, budget: int) -> list[Choice]:
    """The choices of at most so much work to try for a budget, least work first: of a curve's
    those a little above, which another order may bring down; of those within it some, each with a
    lower peak than the last. Then, lowest first, those that are further above."""
    choices = [c for c in front.choices if c.work <= work]
    steep = [c for c in rungs(front) if c.work <= work]
    above = [c for c in steep if budget < c.peak <= ALIKE * budget]
    inside = [c for c in choices if c.peak <= budget]
    steps = inside[:1]
    for choice in inside:
        if choice.peak <= steps[-1].peak - (budget >> 8):
            steps.append(choice)
    first = {*above, *steps[: TRIES - 1], *inside[-1:], *(c for c in steep if c.peak <= budget)}
    last = [c for c in choices[::-1] if ALIKE * budget < c.peak <= BLURRED * budget]
    return [*sorted(first, key=lambda c: c.work), *last[:TRIES]]


def lowest_of(front: Front, work: float) -> list[Choice]:
    """The lowest choice of at most so much work, and one that is nearly as low for less."""
    choices = [c for c in front.choices if c.work <= work]
    bottom = choices[-1]
    other = next(c for c in choices if c.peak <= AS_LOW * bottom.peak)
    return [bottom, other] if other.work < DEARER * bottom.work else [bottom]
