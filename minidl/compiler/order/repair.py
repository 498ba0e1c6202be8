"""An order made better where it needs most: ops moved past the one that runs at the peak."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from minidl.compiler.order.cut import AFTER, BEFORE, FREE, Cut, least_cut
from minidl.compiler.order.live import Spans
from minidl.compiler.order.problem import Problem
from minidl.ir import followers

WIDTHS = (4, 16, 64, 256, 1024, 4096)
"""Ops on either side of a peak that may move, the nearest first."""

LONG = 100
"""Ops of a stretch from which on arrays are faster than lists."""

KEPT = 3
"""Orders whose moves are kept for another limit."""

PEAKS = 8
"""The highest ops that are tried before an order counts as one that cannot be made better."""

_Moves = dict[tuple[int, int], tuple[list["_Move"], int]]

Edges = Sequence[Sequence[int] | set[int]]


@dataclass(frozen=True, slots=True)
class _Move:
    """Ops in a new order, from a position on."""

    start: int
    ops: list[int]
    loads: list[int]
    live: list[int]


class Repair:
    """An order, what is live at each op of it, and moves that make that less.

    At a position above the limit the set of ops that should have run before it is a minimum cut.
    The order that runs them before it, and all else behind it, is taken if that brings what lies
    above the limit down, in sum over all positions.
    """

    def __init__(self, problem: Problem, order: Sequence[int], effort: int) -> None:
        self.problem = problem
        self.effort = effort
        """Steps that may still be taken: edges and ops that are looked at."""
        self.after = followers(problem.before)
        self.order = list(order)
        self.place = [0] * len(self.order)
        """By op, its position."""
        self.live = [0] * len(self.order)
        """By position, bytes live before the op there runs."""
        self.loads = [0] * len(self.order)
        self.spans = Spans(problem)
        self.kept: dict[tuple[int, ...], _Moves] = {}
        self.moves: _Moves = {}
        """Of this order, by position and width, with what they cost."""
        self.take(order)

    def take(self, order: Sequence[int]) -> None:
        """Go on from another order."""
        self.order, self.moves = list(order), {}
        for i, op in enumerate(order):
            self.place[op] = i
        problem = self.problem
        given = zip(problem.sizes, problem.begins, strict=True)
        self.live[:1] = [problem.base + sum(size for size, begins in given if not begins)]
        self.spans.move(0, self.order)
        self.loads, self.live = self._walk(0, self.order)
        self._keep_moves()

    @property
    def peak(self) -> int:
        return max(self.loads, default=self.problem.base)

    def lower(self, limit: int) -> bool:
        """Move ops until no more than `limit` bytes are live at any; False where that ends before,
        or effort does."""
        while self.effort > 0:
            above = [i for i, load in enumerate(self.loads) if load > limit]
            if not above:
                return True
            self.effort -= len(self.order) // 8
            above.sort(key=lambda i: -self.loads[i])
            if not any(self._improve(i, limit) for i in above[:PEAKS]):
                self._keep_moves()
                return False
        return False

    def _improve(self, position: int, limit: int) -> bool:
        """Make the best move past a position in the narrowest window that has one."""
        for width in WIDTHS:
            rated = [(self._gain(move, limit), move) for move in self._known(position, width)]
            gain, best = max(rated, key=lambda one: one[0], default=(0, None))
            if best is not None and gain > 0:
                self._make(best)
                return True
            if width >= len(self.order) or self.effort <= 0:
                break
        return False

    def _make(self, move: _Move) -> None:
        stop = move.start + len(move.ops)
        self.order[move.start : stop] = move.ops
        self.loads[move.start : stop] = move.loads
        self.live[move.start : stop] = move.live
        for i in range(move.start, stop):
            self.place[self.order[i]] = i
        self.spans.move(move.start, move.ops)
        self.moves = {}

    def _gain(self, move: _Move, limit: int) -> int:
        """By how much a move lowers what lies above a limit."""
        now = islice(self.loads, move.start, move.start + len(move.ops))
        return _above(now, limit) - _above(move.loads, limit)

    def _known(self, position: int, width: int) -> list[_Move]:
        """The moves past a position; no limit changes them, so that the next finds them made, at
        the same cost."""
        if (position, width) not in self.moves:
            before = self.effort
            made = [_Move(k, ops, *self._walk(k, ops)) for k, ops in self._moves(position, width)]
            self.moves[position, width] = made, before - self.effort
            self.effort = before
        made, cost = self.moves[position, width]
        self.effort -= cost
        return made

    def _keep_moves(self) -> None:
        """Have the moves of this order at hand whenever it comes back; of few others, too."""
        order = tuple(self.order)
        self.moves = self.kept.pop(order, self.moves)
        self.kept[order] = self.moves
        while len(self.kept) > KEPT:
            del self.kept[next(iter(self.kept))]

    def _moves(self, position: int, width: int) -> Iterator[tuple[int, list[int]]]:
        """Other orders of the ops round a position, each with the position where it begins."""
        start, stop = max(0, position - width), min(len(self.order), position + width + 1)
        op, side = self.order[position], self._sides(position, start, stop)
        free = [u for u, s in side.items() if s == FREE]
        cut = self._cut(op, free, side, start, stop)
        for chosen in {frozenset(cut.late): None, frozenset(cut.soon): None}:
            gone = [u for u in self.order[start:position] if not side[u] and u not in chosen]
            come = [u for u in self.order[position + 1 : stop] if u in chosen]
            if gone or come:
                away = {*gone, *come}
                first = [u for u in self.order[start:position] if u not in away]
                last = [u for u in self.order[position + 1 : stop] if u not in away]
                for before in self._before(first, come):
                    for behind in self._behind(gone, last):
                        yield self._changed(start, [*before, op, *behind])

    def _sides(self, position: int, start: int, stop: int) -> dict[int, int]:
        """By op of a window, whether it must run before the one at a position, or behind it."""
        self.effort -= stop - start
        op, place = self.order[position], self.place
        side = dict.fromkeys(self.order[start:stop], FREE)
        side[op] = BEFORE  # for those that it follows
        for u in reversed(self.order[start:position]):
            if any(place[w] <= position and side[w] for w in self.after[u]):
                side[u] = BEFORE
        side[op] = AFTER
        for u in self.order[position + 1 : stop]:
            if any(place[w] >= position and side[w] for w in self.problem.before[u]):
                side[u] = AFTER
        return side

    def _cut(self, op: int, free: list[int], side: dict[int, int], start: int, stop: int) -> Cut:
        def where(u: int) -> int:
            place = self.place[u]
            return side[u] if start <= place < stop else BEFORE if place < start else AFTER

        buffers = dict.fromkeys(b for u in free for b in self.problem.touches[u])
        cut = least_cut(self.problem, op, free, where, buffers)
        self.effort -= cut.steps
        return cut

    def _before(self, first: list[int], come: list[int]) -> Iterator[list[int]]:
        """Ops that come to run before: as late as they may, or as early."""
        yield [*first, *come]
        if come:
            yield _lazily(first[::-1], come[::-1], self.after)[::-1]

    def _behind(self, gone: list[int], last: list[int]) -> Iterator[list[int]]:
        """Ops that come to run behind: as early as they may, or as late."""
        yield [*gone, *last]
        if gone:
            yield _lazily(last, gone, self.problem.before)

    def _changed(self, start: int, ops: list[int]) -> tuple[int, list[int]]:
        """Less what is as it was at either end."""
        first, last = 0, len(ops)
        while ops[first] == self.order[start + first]:
            first += 1
        while ops[last - 1] == self.order[start + last - 1]:
            last -= 1
        return start + first, ops[first:last]

    def _walk(self, start: int, ops: Sequence[int]) -> tuple[list[int], list[int]]:
        """Bytes live while each op runs, and before, if they run in that order from `start` on."""
        self.effort -= len(ops)
        if len(ops) > LONG:
            return self.spans.walk(start, ops, self.live[start])
        problem, sizes = self.problem, self.problem.sizes
        left: dict[int, int] = {}
        for op in ops:
            for b in problem.touches[op]:
                left[b] = left.get(b, 0) + 1
        begins = {b for b in left if self._begins(b, left[b], start)}
        ends = {b for b in left if self._ends(b, left[b], start + len(ops))}
        now, loads, live = self.live[start] if ops else 0, [], []
        for op in ops:
            live.append(now)
            now += sum(sizes[b] for b in problem.touches[op] if b in begins)
            load, taken = now, set[int]()
            for new, old in problem.overwrites[op]:
                dies = old in ends and left[old] == 1
                if new in begins and dies and new not in taken and old not in taken:
                    load -= sizes[new]
                    taken |= {new, old}
            loads.append(load)
            for b in problem.touches[op]:
                begins.discard(b)
                left[b] -= 1
                if not left[b] and b in ends:
                    now -= sizes[b]
        return loads, live

    def _begins(self, b: int, inside: int, start: int) -> bool:
        """Whether a buffer with so many users inside a window has none before it."""
        users = self.problem.users[b]
        if not self.problem.begins[b] or inside == len(users):
            return self.problem.begins[b]
        return all(self.place[u] >= start for u in users)

    def _ends(self, b: int, inside: int, stop: int) -> bool:
        """Whether it has none behind."""
        users = self.problem.users[b]
        if not self.problem.ends[b] or inside == len(users):
            return self.problem.ends[b]
        return all(self.place[u] < stop for u in users)


def _above(loads: Iterable[int], limit: int) -> int:
    return sum(load - limit for load in loads if load > limit)


def _lazily(ops: list[int], moved: list[int], before: Edges) -> list[int]:
    """`ops` in their order, each of `moved` right before the first that needs it, or at the end."""
    waiting, result = dict.fromkeys(moved), []
    rank = {u: i for i, u in enumerate(moved)}
    for op in ops:
        needed, stack = set[int](), [op]
        while stack:
            found = [j for j in before[stack.pop()] if j in waiting and j not in needed]
            needed.update(found)
            stack += found
        for j in sorted(needed, key=rank.__getitem__):
            del waiting[j]
            result.append(j)
        result.append(op)
    return [*result, *waiting]
