"""Blocks: bytes that must hold for a lifetime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from minidl.compiler.lifetimes import Lifetime
from minidl.ir import Array


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes that must hold for a lifetime; in a plan `size` is a multiple of the alignment."""

    size: int
    life: Lifetime

    @property
    def length(self) -> int:
        return self.life.last - self.life.first


def max_load(blocks: Sequence[Block]) -> int:
    """The maximum over positions of the sum of live bytes: no placement is lower."""
    return max(loads(blocks), default=0)


def loads(blocks: Sequence[Block]) -> list[int]:
    """Bytes live at each position."""
    change = [0] * (1 + max((b.life.last for b in blocks), default=0))
    for b in blocks:
        change[b.life.first] += b.size
        change[b.life.last] -= b.size
    return list(accumulate(change))


def crowds(blocks: Sequence[Block]) -> list[int]:
    """For each block the most bytes live at one position of its lifetime."""
    live = loads(blocks)
    return [max(live[b.life.first : b.life.last]) for b in blocks]


def neighbours(blocks: Sequence[Block]) -> list[Array]:
    """For each block the others whose lifetimes overlap its own, as indices."""
    first = np.array([b.life.first for b in blocks])
    last = np.array([b.life.last for b in blocks])
    found = []
    for i in range(len(blocks)):
        together = (first < last[i]) & (last > first[i])
        together[i] = False
        found.append(np.flatnonzero(together))
    return found


def top(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    """The end of the highest block."""
    return max((o + b.size for o, b in zip(offsets, blocks, strict=True)), default=0)
