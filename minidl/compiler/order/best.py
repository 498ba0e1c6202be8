"""The order with the least peak that can be found, and the proof of how near it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from minidl.compiler.order.bound import order_lower_bound
from minidl.compiler.order.by_layer import order_by_layer
from minidl.compiler.order.cut import least_during
from minidl.compiler.order.problem import Problem
from minidl.compiler.order.repair import Repair
from minidl.compiler.order.search import fewest_live, find_order
from minidl.ir import StepGraph
from minidl.options import ALIGNMENT

EFFORT = 100_000
"""Choices that the search over whole orders may look at: a quarter of a second."""

LEAST_STEPS, STEPS, MOST_STEPS = 200_000, 4_000, 4_000_000
"""Steps of repair for any graph, more for each op, and at most: a million take about a second."""

TRIES = 24
"""Limits that are looked for: the bound, and once that gives up, between it and the best."""

TRIED = 4
"""The part of the choices that one search may look at while moves still lower the peak."""

SHARE = 4
"""The part of the effort that one try may take."""

GAP = 100
"""The part of the peak between it and the bound that is worth all of a try; less is worth less."""

OTHERS = 1
"""Orders that are kept beside the best."""

LITTLE = 1 / 4
"""Of the choices, those that are looked at however small the gap is."""

CUTS = 8
"""Ops that the bound is raised by, the highest first."""

NEAR = 1000
"""The part of the peak that is not worth another try."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A graph whose `ops` are in a good order."""

    graph: StepGraph
    proved: int | None = None
    """Bytes that every order of these ops needs; None: nobody has looked."""
    others: tuple[StepGraph, ...] = ()
    """Other orders that are nearly as good, best first: one may be placed with fewer bytes."""

    def lower_bound(self, alignment: int) -> int:
        """Bytes that every order needs; equal to this one's peak if that is optimal."""
        if self.proved is not None:
            return self.proved
        return order_lower_bound(Problem.of(self.graph, alignment))


def order_for_peak(graph: StepGraph, alignment: int = ALIGNMENT, effort: int = EFFORT) -> Ordered:
    """The order of least peak: exact layer by layer, then better over the whole step where needed.

    Where that is above the bound of all orders, limits between the two are halved: `Repair` moves
    ops past the peak, and where it ends, a search over all orders begins anew. What either spends
    is counted, so that every run and every machine gives the same order.
    """
    graph = order_by_layer(graph)
    problem = Problem.of(graph, alignment)
    best = _Best(problem, order_lower_bound(problem), effort)
    best.lower()
    others = tuple(_in_order(graph, order) for order in best.others)
    return Ordered(_in_order(graph, best.order), best.bound, others)


def order_within(graph: StepGraph, limit: int, alignment: int) -> StepGraph | None:
    """Another order with at most `limit` bytes live, if it is soon found."""
    found = find_order(Problem.of(graph, alignment), limit, EFFORT // TRIED)
    return None if found.order is None else _in_order(graph, found.order)


def _in_order(graph: StepGraph, order: Sequence[int]) -> StepGraph:
    return replace(graph, ops=tuple(graph.ops[i] for i in order))


class _Best:
    """The best order so far and the highest bound."""

    def __init__(self, problem: Problem, bound: int, effort: int) -> None:
        self.problem, self.bound, self.effort = problem, bound, effort
        self.order = list(range(len(problem.before)))
        self.others: list[list[int]] = []
        """Orders that were the best before, or are as good, the last first."""
        self.share = min(LEAST_STEPS + STEPS * len(self.order), MOST_STEPS) // SHARE
        """Steps of one try at a limit."""
        self.steps, self.proving = SHARE * self.share, self.share
        """Steps that are left, for repair and for the bound."""
        self.most = problem.loads(self.order)
        """By op, the least bytes live at it in any order that was found."""
        self.peak = max(self.most, default=problem.base)

    def lower(self) -> None:
        """Look for orders at limits between bound and peak, until effort or the gap ends."""
        if self.peak <= self.bound:
            return
        repair = Repair(self.problem, self.order, 0)
        low: int | None = None  # the largest limit at which nothing was found
        for _ in range(TRIES):
            self._raise(repair.after)
            limit = self.bound if low is None else max(self.bound, (low + self.peak) // 2)
            near = low is not None and self.peak - low <= self.peak // NEAR
            if limit >= self.peak or near or self.steps <= 0:
                break
            found = self._repaired(repair, self.order, limit)
            if not found and low is None and self._gap() > 1 / GAP:
                other = fewest_live(self.problem, repair.after)
                found = self._repaired(repair, other, limit)
            if not found and low is None:
                self._searched(self.peak - 1, self.effort // TRIED)
            low = low if found else limit
        for like, share in ((True, 2), (False, 1)):
            effort = int(self.effort * max(LITTLE, min(1, GAP * self._gap()))) // share
            while self.peak > self.bound and effort > 0:
                before = self.effort
                if not self._searched(self.peak - 1, effort, like):
                    break
                effort -= before - self.effort
                self._repaired(repair, self.order, self.bound)

    def _gap(self) -> float:
        """The part of the peak that it is above the bound."""
        return (self.peak - self.bound) / self.peak

    def _repaired(self, repair: Repair, start: list[int], limit: int) -> bool:
        share = min(self.steps, int(self.share * min(1, GAP * self._gap())))
        repair.effort = share
        repair.take(start)
        found = repair.lower(limit)
        self.steps -= share - repair.effort
        self._take(repair.order)
        return found

    def _searched(self, limit: int, effort: int, like: bool = False) -> bool:
        """Whether there is an order, or there is none at all: then the bound is above the limit.

        like: begin with orders that are like the best one.
        """
        found = find_order(self.problem, limit, effort, self.order if like else None)
        self.effort -= found.steps
        if found.order is not None:
            self._take(found.order)
        elif found.exhausted:
            self.bound = max(self.bound, min(found.next_limit, self.peak))
        return found.order is not None or found.exhausted

    def _take(self, order: list[int]) -> None:
        loads = self.problem.loads(order)
        for op, load in zip(order, loads, strict=True):
            self.most[op] = min(self.most[op], load)
        if max(loads) > self.peak or order == self.order:
            return
        if max(loads) < self.peak:
            self.order, self.peak, order = list(order), max(loads), self.order
        self.others = [list(order), *self.others][:OTHERS]

    def _raise(self, after: list[list[int]]) -> None:
        """Raise the bound by what the highest ops need in every order."""
        highest = sorted(range(len(self.most)), key=lambda op: -self.most[op])
        for op in highest[:CUTS]:
            if self.most[op] <= self.bound or self.proving <= 0:
                return
            cut = least_during(self.problem, after, op)
            self.proving -= cut.steps
            self.most[op] = cut.least
            self.bound = max(self.bound, cut.least)
