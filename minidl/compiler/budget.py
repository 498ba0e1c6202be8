"""A step within a budget: as it is, with less scratch, with ops that run again, with both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from minidl.compiler.pattern import Pattern
from minidl.compiler.planner import Planner
from minidl.ir import BudgetError
from minidl.placed.graph import PlacedGraph
from minidl.placed.loads import scratch_cost

SCRATCH_TRIES = 4
"""Smaller limits of scratch that are tried for a budget, each a quarter of the one before."""

WEIGHS = 1 / 200
"""Of the arena: scratch that is less is not worth slower kernels where ops run again."""

SLACK = 1.02
"""How much above the budget a peak without scratch may be, that another order may bring down."""


class Planners:
    """Of a step with one limit of scratch: of the call that updates, and of those that only add
    where there are some."""

    def __init__(self, *planners: Planner) -> None:
        self.planners = planners

    @cached_property
    def unspent(self) -> Planned:
        """Without work but what may always be spent, whatever the budget."""
        return Planned(tuple(planner.unspent for planner in self.planners))

    def within(self, budget: int) -> Planned:
        """With the least work that fits; BudgetError where a call does not."""
        found, failed = list[PlacedGraph](), list[BudgetError]()
        for planner in self.planners:
            try:
                found.append(planner.within(budget))
            except BudgetError as error:
                failed.append(error)
        if failed:
            raise max(failed, key=lambda error: error.needed)
        return Planned(tuple(found))

    @cached_property
    def lowest(self) -> Planned:
        """With the fewest bytes that there are."""
        return Planned(tuple(planner.lowest for planner in self.planners))

    @property
    def least_peak(self) -> int:
        """About what `lowest` needs."""
        return max(planner.least_peak for planner in self.planners)

    def like(self, planned: Planned) -> Planned:
        """With the orders of other plans of the step, and what runs again there."""
        pairs = zip(self.planners, planned.plans, strict=True)
        return Planned(tuple(planner.like(plan) for planner, plan in pairs))

    def peak_like(self, patterns: tuple[Pattern, ...]) -> int:
        """Most bytes live at once with these orders, of the call that updates first."""
        pairs = zip(self.planners, patterns, strict=False)
        return max(planner.peak_like(pattern) for planner, pattern in pairs)


@dataclass(frozen=True)
class Planned:
    """The plans of a step, of the call that updates first."""

    plans: tuple[PlacedGraph, ...]

    @property
    def arena_bytes(self) -> int:
        return max(plan.arena_bytes for plan in self.plans)

    @property
    def lasting_bytes(self) -> int:
        """Of what holds from one step to the next: no batch needs less."""
        return max(sum(v.tensor.nbytes for v in plan.graph.variables) for plan in self.plans)


class Limits:
    """A step with as much scratch as the options allow, and with less."""

    def __init__(self, at: Callable[[int | None], Planners]) -> None:
        """at: the planners with a limit of scratch; None: as the options have it."""
        self._make = at
        self._made: dict[int | None, Planners] = {}

    def at(self, limit: int | None) -> Planners:
        if limit not in self._made:
            self._made[limit] = self._make(limit)
        return self._made[limit]

    @cached_property
    def smaller(self) -> tuple[int, ...]:
        """Quarters of the largest scratch, where it lowers the peak."""
        plans = self.at(None).unspent.plans
        return tuple(_quarters(plans)) if any(map(scratch_cost, plans)) else ()

    @cached_property
    def ways(self) -> tuple[int | None, ...]:
        """The limits at which ops may run again: all of the scratch, and the least, if that may
        make a difference."""
        plans = self.at(None).unspent.plans
        largest = max(map(_scratch, plans))
        weighs = largest > WEIGHS * self.at(None).unspent.arena_bytes
        return (None, *list(_quarters(plans))[-1:]) if weighs else (None,)


def fitted(limits: Limits, budget: int) -> tuple[int | None, Planned]:
    """The limit of scratch, and the plans; BudgetError with the fewest bytes that were found."""
    for limit in (None, *_hopeful(limits, budget)):
        found = limits.at(limit).unspent
        if found.arena_bytes <= budget:
            return limit, found
    failed: list[BudgetError] = []
    for limit in limits.ways:
        try:
            return _with_more_scratch(limits, limit, limits.at(limit).within(budget), budget)
        except BudgetError as error:
            failed.append(error)
    raise min(failed, key=lambda error: error.needed)


def _hopeful(limits: Limits, budget: int) -> tuple[int, ...]:
    """Smaller limits that may be enough."""
    bare = (plan.max_load_bytes - scratch_cost(plan) for plan in limits.at(None).unspent.plans)
    return limits.smaller if max(bare) <= SLACK * budget else ()


def _with_more_scratch(
    limits: Limits, limit: int | None, found: Planned, budget: int
) -> tuple[int | None, Planned]:
    """The same plans with as much scratch as the budget has room for."""
    for more in limits.smaller if limit is not None else ():
        if more > (limit or 0):
            other = limits.at(more).like(found)
            if other.arena_bytes <= budget:
                return more, other
    return limit, found


def _scratch(plan: PlacedGraph) -> int:
    return max((t.nbytes for t in plan.placements if t.kind == "scratch"), default=0)


def _quarters(plans: tuple[PlacedGraph, ...]) -> Iterator[int]:
    limit = max(map(_scratch, plans))
    for _ in range(SCRATCH_TRIES):
        limit //= 4
        if limit:
            yield limit
