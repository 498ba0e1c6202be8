"""Search over all orders of a step for one whose peak stays within a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from minidl.compiler.order.problem import Problem, Walk
from minidl.ir import followers


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to."""

    order: list[int] | None
    """An order within the limit."""
    exhausted: bool = False
    """Without an order: whether there is none, else the search gave up."""
    next_limit: int = 0
    """Without an order: the least load over the limit that was met; if exhausted, every order
    needs as many bytes."""
    steps: int = 0
    """Of the effort, what was spent."""


def find_order(
    problem: Problem, limit: int, effort: int, like: Sequence[int] | None = None
) -> Found:
    """An order with at most `limit` bytes live at every op, found within `effort` steps, if any.

    Depth first over the sets of ops that have run; what is live depends on the set alone, so each
    set is visited once (Held and Karp 1962 use the same fact for tours). An op that fits and
    leaves no more bytes live than before is run at once: putting it first in any order that is
    within the limit keeps it there (Liu 1987 orders trees of registers by the same argument).
    like: an order whose first op is always tried first; else it is the one that leaves the fewest
    bytes live.
    """
    search = _Search(problem, limit, effort, like)
    return replace(search.run(), steps=effort - search.effort)


def fewest_live(problem: Problem, after: list[list[int]]) -> list[int]:
    """An order that always goes on with the op that leaves the fewest bytes live.

    after: by op, those that must follow it at once.
    """
    walk, missing = Walk(problem), [len(js) for js in problem.before]
    ready, order = {i for i, count in enumerate(missing) if not count}, []
    while ready:
        op = min(ready, key=lambda i: (walk.change(i), i))
        ready.discard(op)
        walk.run(op)
        order.append(op)
        for i in after[op]:
            missing[i] -= 1
            if not missing[i]:
                ready.add(i)
    return order


class _Search:
    def __init__(
        self, problem: Problem, limit: int, effort: int, like: Sequence[int] | None = None
    ) -> None:
        self.problem, self.limit, self.effort = problem, limit, effort
        self.place = None if like is None else {op: i for i, op in enumerate(like)}
        self.walk = Walk(problem)
        self.next_limit = 0
        self.done = 0
        """The ops that have run, as bits."""
        self.trail: list[int] = []
        self.after = followers(problem.before)
        self.missing = [len(js) for js in problem.before]
        self.ready = {i for i, js in enumerate(problem.before) if not js}
        self.seen: set[int] = set()

    def run(self) -> Found:
        choices: list[tuple[int, list[int]]] = []
        while True:
            start = len(self.trail)
            self._run_safe()
            if len(self.trail) == len(self.missing):
                return Found(self.trail)
            if self.done in self.seen:
                options = []
            else:
                self.seen.add(self.done)
                options = self._options()
            choices.append((start, options))
            while not choices[-1][1]:
                start, _ = choices.pop()
                self._back_to(start)
                if not choices:
                    return Found(None, True, self.next_limit)
                self._undo()  # the choice that led there
            self.effort -= len(self.ready)
            if self.effort < 0:
                return Found(None, False, self.next_limit)
            self._run(choices[-1][1].pop())

    def _options(self) -> list[int]:
        """Ready ops within the limit, the most promising last."""
        fitting = []
        for i in self.ready:
            load = self.walk.during(i)
            if load <= self.limit:
                fitting.append(i)
            elif not self.next_limit or load < self.next_limit:
                self.next_limit = load
        if self.place is not None:
            return sorted(fitting, key=self.place.__getitem__, reverse=True)
        return sorted(fitting, key=lambda i: (-self.walk.change(i), -i))

    def _run_safe(self) -> None:
        """Run what fits and leaves no more bytes live, as long as there is such an op."""
        improves = True
        while improves:
            improves = False
            for i in sorted(self.ready):
                if self.walk.change(i) <= 0 and self.walk.during(i) <= self.limit:
                    self._run(i)
                    improves = True

    def _run(self, op: int) -> None:
        self.walk.run(op)
        self.done |= 1 << op
        self.trail.append(op)
        self.ready.discard(op)
        for i in self.after[op]:
            self.missing[i] -= 1
            if not self.missing[i]:
                self.ready.add(i)

    def _undo(self) -> None:
        op = self.trail.pop()
        self.walk.undo(op)
        self.done &= ~(1 << op)
        for i in self.after[op]:
            if not self.missing[i]:
                self.ready.discard(i)
            self.missing[i] += 1
        self.ready.add(op)

    def _back_to(self, length: int) -> None:
        while len(self.trail) > length:
            self._undo()
