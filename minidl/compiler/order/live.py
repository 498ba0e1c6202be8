"""What is live at each op of a long stretch of an order, in arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidl.compiler.order.problem import Problem
from minidl.ir import Array


class Spans:
    """Where each op of an order runs, and from where to where each buffer lives by that."""

    def __init__(self, problem: Problem) -> None:
        counts = [len(users) for users in problem.users]
        self.users = np.array([u for users in problem.users for u in users], np.int64)
        self.starts = np.cumsum([0, *counts[:-1]]) if counts else np.zeros(0, np.int64)
        self.sizes = np.array(problem.sizes, np.float64)
        self.begins, self.ends = np.array(problem.begins, bool), np.array(problem.ends, bool)
        self.place = np.zeros(len(problem.before), np.int64)
        """By op, its position."""
        self.rounds = _rounds(problem.overwrites)

    def move(self, start: int, ops: Sequence[int]) -> None:
        """Put these ops, in this order, at positions from `start` on."""
        self.place[ops] = np.arange(start, start + len(ops))

    def walk(self, start: int, ops: Sequence[int], live: int) -> tuple[list[int], list[int]]:
        """Bytes live while each of `ops` runs, and before, if they run in that order from `start`
        on, where `live` bytes are live before; all others where they are."""
        moved = np.array(ops, np.int64)
        before, count = self.place[moved], len(ops)
        self.place[moved] = np.arange(start, start + count)
        at = self.place[self.users]
        first = np.minimum.reduceat(at, self.starts) - start
        last = np.maximum.reduceat(at, self.starts) - start
        here = self.begins & (first >= 0) & (first < count)
        gone = self.ends & (last >= 0) & (last < count)
        come = np.bincount(first[here], self.sizes[here], count)
        left = np.bincount(last[gone], self.sizes[gone], count)
        now = live + np.cumsum(come - left) - come + left
        loads = now + come
        begun, ended = np.zeros((2, len(self.sizes)), bool)
        for op, new, old in self.rounds:
            own = self.place[op] - start
            over = here[new] & gone[old] & (first[new] == own) & (last[old] == own)
            over &= ~(begun[new] | ended[old])
            loads[own[over]] -= self.sizes[new[over]]
            begun[new[over]] = ended[old[over]] = True
        self.place[moved] = before
        return loads.astype(np.int64).tolist(), now.astype(np.int64).tolist()


def _rounds(pairs: list[list[tuple[int, int]]]) -> list[tuple[Array, ...]]:
    """(op, new, old) of the first pair of each op, of the second of each, and so on."""
    found: list[list[tuple[int, int, int]]] = []
    for op, own in enumerate(pairs):
        for k, (new, old) in enumerate(own):
            if k == len(found):
                found.append([])
            found[k].append((op, new, old))
    return [tuple(np.array(column) for column in zip(*one, strict=True)) for one in found]
