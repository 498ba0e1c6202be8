"""Blocks: bytes that must hold for a lifetime."""

from __future__ import annotations

from bisect import bisect_left
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
    live, begins = loads(blocks), sorted({b.life.first for b in blocks})  # the load rises there
    place = {position: k for k, position in enumerate(begins)}
    most = [np.array([live[position] for position in begins], np.int64)]
    while (half := 1 << (len(most) - 1)) < len(begins):  # of 1, 2, 4, ... of them in a row
        most.append(np.maximum(most[-1], np.append(most[-1][half:], most[-1][-half:])))
    found = []
    for b in blocks:
        start, stop = place[b.life.first], bisect_left(begins, b.life.last)
        row = (stop - start).bit_length() - 1
        found.append(int(max(most[row][start], most[row][stop - (1 << row)])))
    return found


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
