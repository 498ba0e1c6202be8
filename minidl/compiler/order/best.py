"""The order with the least peak that can be found, and the proof of how near it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from minidl.compiler.order.bound import order_lower_bound
from minidl.compiler.order.by_layer import order_by_layer
from minidl.compiler.order.problem import Problem
from minidl.compiler.order.search import find_order
from minidl.ir import StepGraph
from minidl.options import ALIGNMENT

EFFORT = 60_000
"""Choices that the search over whole orders may look at: a third of a second."""

TRIES = 8
"""Limits that are searched for: the bound, and once that gives up, between it and the best."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A graph whose `ops` are in a good order."""

    graph: StepGraph
    proved: int | None = None
    """Bytes that every order of these ops needs; None: nobody has looked."""

    def lower_bound(self, alignment: int) -> int:
        """Bytes that every order needs; equal to this one's peak if that is optimal."""
        if self.proved is not None:
            return self.proved
        return order_lower_bound(Problem.of(self.graph, alignment))


def order_for_peak(graph: StepGraph, alignment: int = ALIGNMENT, effort: int = EFFORT) -> Ordered:
    """The order of least peak: exact layer by layer, then exact over the whole step where needed.

    Where no order reaches the lower bound, the search that failed has proved a higher one, and the
    next starts there; each gives up after its share of `effort`, so that the bound may stay below.
    """
    graph = order_by_layer(graph)
    problem = Problem.of(graph, alignment)
    bound, best = order_lower_bound(problem), list(range(len(graph.ops)))
    peak = _peak(problem, best)
    low: int | None = None  # the largest limit at which a search gave up
    for _ in range(TRIES):
        limit = bound if low is None else (low + peak) // 2
        if limit >= peak:
            break
        found = find_order(problem, limit, effort // TRIES)
        if found.order is not None:
            best, peak = found.order, _peak(problem, found.order)
        elif found.exhausted:
            bound = max(bound, min(found.next_limit, peak))
        else:
            low = limit
    return Ordered(replace(graph, ops=tuple(graph.ops[i] for i in best)), bound)


def _peak(problem: Problem, order: list[int]) -> int:
    return max(problem.loads(order), default=problem.base)
