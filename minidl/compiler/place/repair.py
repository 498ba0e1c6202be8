"""Repair of a greedy placement by changing the order in which blocks are placed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from minidl.compiler.place.blocks import Block
from minidl.compiler.place.greedy import Candidate, Fit, greedy
from minidl.ir import Array


def repaired(
    blocks: Sequence[Block],
    beside: list[Array],
    best: Candidate,
    fits: Sequence[Fit],
    target: int,
    rounds: int,
) -> Candidate:
    """The lowest of `rounds` greedy placements from changed orders: what stuck out of the target
    comes first next time (squeaky wheel, Joslin and Clements 1999), and one block at random."""
    chance = random.Random(0)
    order = best.order
    for _ in range(rounds):
        found = greedy(blocks, beside, order, chance.choice(fits))
        if found.height < best.height:
            best = found
        if best.height <= target:
            break
        order = found.order if chance.random() < 0.9 else best.order
        order = sorted(order, key=lambda i: found.offsets[i] + blocks[i].size <= target)
        order.insert(chance.randrange(len(order)), order.pop(chance.randrange(len(order))))
    return best
