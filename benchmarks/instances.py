"""Instances of placement with a known packing: a rectangle of time x bytes, cut into blocks.

What comes out fits into the rectangle's height, whatever a search says of it. Cuts are guillotine
(straight through) or pinwheels (five pieces around one, which no straight cut separates).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise

from minidl.compiler.lifetimes import Lifetime
from minidl.compiler.place import Block

Box = tuple[int, int, int, int]
"""First and last position, lowest and highest unit of bytes."""

POSITIONS, UNITS, UNIT = 4000, 1024, 1024


@dataclass(frozen=True)
class Instance:
    """Blocks, and a height that they are known to fit into."""

    name: str
    blocks: list[Block]
    height: int


def _guillotine(chance: random.Random, box: Box, count: int, flat: float) -> list[Box]:
    """`count` pieces or less; `flat` is how often a cut is along time."""
    found, open_boxes = [], [(box, count)]
    while open_boxes:
        (a, b, c, d), k = open_boxes.pop()
        if k <= 1 or (b - a < 2 and d - c < 2):
            found.append((a, b, c, d))
            continue
        here = chance.randint(1, k - 1)
        share = min(max(here / k * chance.uniform(0.7, 1.3), 0.02), 0.98)
        if b - a < 2 or (d - c >= 2 and chance.random() < flat):
            m = min(max(c + 1, c + round((d - c) * share)), d - 1)
            open_boxes += [((a, b, c, m), here), ((a, b, m, d), k - here)]
        else:
            m = min(max(a + 1, a + round((b - a) * share)), b - 1)
            open_boxes += [((a, m, c, d), here), ((m, b, c, d), k - here)]
    return found


def _pinwheel(chance: random.Random, box: Box, count: int, flat: float) -> list[Box]:
    """Five pieces, each again, until there are `count`."""
    found, open_boxes = list[Box](), [(box, count)]
    while open_boxes:
        (a, b, c, d), k = open_boxes.pop()
        if k < 5 or b - a < 3 or d - c < 3:
            found += _guillotine(chance, (a, b, c, d), k, flat)
            continue
        x, y = sorted(chance.sample(range(a + 1, b), 2)), sorted(chance.sample(range(c + 1, d), 2))
        pieces = [
            (a, x[1], c, y[0]),
            (x[1], b, c, y[1]),
            (x[0], b, y[1], d),
            (a, x[0], y[0], d),
            (x[0], x[1], y[0], y[1]),
        ]
        areas = [(q - p) * (s - r) for p, q, r, s in pieces]
        counts = [1 + (k - 5) * area // sum(areas) for area in areas]
        counts[areas.index(max(areas))] += k - sum(counts)
        open_boxes += list(zip(pieces, counts, strict=True))
    return found


def _long_under_short(chance: random.Random, count: int) -> list[Box]:
    cut = round(0.3 * UNITS)
    low = _guillotine(chance, (0, POSITIONS, 0, cut), count // 2, 0.85)
    return low + _guillotine(chance, (0, POSITIONS, cut, UNITS), count - count // 2, 0.15)


def _separate(chance: random.Random, count: int) -> list[Box]:
    cuts = [0, *sorted(chance.sample(range(POSITIONS // 10, POSITIONS), 3)), POSITIONS]
    return [
        piece
        for a, b in pairwise(cuts)
        for piece in _pinwheel(chance, (a, b, 0, UNITS), count // 4, 0.5)
    ]


def instance(kind: str, count: int, seed: int) -> Instance:
    """One of KINDS; the height is 1 MiB, 3 % less in `equal`."""
    chance = random.Random(f"{kind} {count} {seed}")
    whole, unit = (0, POSITIONS, 0, UNITS), UNIT
    if kind == "guillotine":
        boxes = _guillotine(chance, whole, count, chance.choice((0.3, 0.5, 0.8)))
    elif kind == "long under short":
        boxes = _long_under_short(chance, count)
    elif kind == "separate":
        boxes = _separate(chance, count)
    elif kind == "equal":
        boxes, unit = _pinwheel(chance, (0, POSITIONS // 8, 0, 48), count, 0.5), 20 * UNIT
    elif kind == "unaligned":
        boxes, unit = _pinwheel(chance, (0, POSITIONS, 0, UNITS * UNIT), count, 0.5), 1
    else:
        boxes = _pinwheel(chance, whole, count, chance.choice((0.3, 0.5, 0.8)))
    chance.shuffle(boxes)
    blocks = [Block((d - c) * unit, Lifetime(a, b)) for a, b, c, d in boxes]
    return Instance(f"{kind} {count} {seed}", blocks, max(d for *_, d in boxes) * unit)


KINDS = ("guillotine", "pinwheel", "long under short", "separate", "equal", "unaligned")
