"""From a step graph to a proven plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from minidl.compiler.buffers import Buffer, Sharing
from minidl.compiler.lifetimes import Lifetime, loads
from minidl.compiler.modes import check_switches, find_mode
from minidl.compiler.order import Ordered, order_for_peak, order_within
from minidl.compiler.pattern import Pattern
from minidl.compiler.place import Block, Impossible, lowest, max_load, top
from minidl.compiler.recompute import SHARES, Choice, Chooser, Front
from minidl.compiler.recompute.rungs import ALIKE, lowest_of, promising, rungs
from minidl.ir import BudgetError, LimitError, StepGraph, Tensor
from minidl.options import Options
from minidl.placed.graph import PlacedGraph, Placement, Subject
from minidl.placed.verify import verify

MOST_BYTES = 2**60
"""Of all tensors of a step; sums of them are then whole numbers of 64 bits."""

NEAR = 1.1
"""Of the lowest choice: a budget up to there may be one that no plan meets."""

OTHERWISE = 2
"""Orders that are tried where a placement does not come down to the load."""

LESS = 4
"""They are placed with that part of the effort: most of them come down no further."""

SEARCHING = "searching for what to make anew"

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is."""


def silent(phrase: str, share: float) -> None:
    """Nobody wants to know."""


def make_plan(
    graph: StepGraph,
    subject: Subject,
    options: Options,
    guard: int = 0,
    progress: Progress = silent,
) -> PlacedGraph:
    """Order `graph` and place every tensor as `options.memory` has it; proven, or PlanError.

    guard: bytes kept free behind every tensor. BudgetError where `options.budget` cannot be met.
    """
    return Planner(graph, subject, options, guard, progress).plan()


def make_curve(
    graph: StepGraph,
    subject: Subject,
    options: Options,
    progress: Progress = silent,
) -> list[PlacedGraph]:
    """Plans from the one with the least work to the one with the fewest bytes, proven; each has
    fewer bytes and more work than the one before."""
    return Planner(graph, subject, options, 0, progress).curve()


def _require_countable(graph: StepGraph) -> None:
    """LimitError where bytes are more than any offset can count."""
    owners = dict.fromkeys(t.storage for op in graph.ops for t in (*op.reads, *op.writes))
    largest = max(owners, key=lambda t: t.nbytes, default=None)
    if largest is not None and sum(t.nbytes for t in owners) > MOST_BYTES:
        raise LimitError(
            f"the step's tensors are more than {MOST_BYTES:,} bytes, {largest.name} "
            f"{largest.shape} the largest",
            "use a smaller batch, or smaller layers",
        )


def scheduled(graph: StepGraph, options: Options) -> Ordered:
    """The ops as `options.memory` rewrites and orders them, before anything has a place."""
    return Planner(graph, Subject("", 0, ()), options, 0, silent).scheduled()


class Planner:
    """What makes the plans of one graph with one set of options; each plan is proven."""

    def __init__(
        self,
        graph: StepGraph,
        subject: Subject,
        options: Options,
        guard: int = 0,
        progress: Progress = silent,
    ) -> None:
        check_switches(options.disable_passes)
        _require_countable(graph)
        self.stated = graph
        self.subject, self.options, self.guard = subject, options, guard
        self.progress = progress
        self.mode = find_mode(options.memory)
        for change in self.mode.passes:
            if change.__name__ not in options.disable_passes:
                graph = change(graph)
        self.graph = graph

    # -- which ops run again ----------------------------------------------------------------------

    def plan(self) -> PlacedGraph:
        """With the least bytes that the options allow; with a budget, with the least work."""
        if self.mode.exact and self.options.budget is not None:
            return self.within(self.options.budget)
        return self._placed(self.scheduled())

    @cached_property
    def unspent(self) -> PlacedGraph:
        """Without work but what may always be spent, whatever the budget."""
        if not self.mode.exact:
            return self._placed(Ordered(self.graph))
        return self._placed(self._spending(0 if self.options.recompute == 0 else None))

    def scheduled(self) -> Ordered:
        """The ops in their order, whatever the budget."""
        return self._spending(self.options.recompute) if self.mode.exact else Ordered(self.graph)

    def curve(self) -> list[PlacedGraph]:
        """The plans that no other one beats in both bytes and work, at most `RUNGS`."""
        front = self._front()
        found: list[PlacedGraph] = []
        choices = rungs(front)
        for done, choice in enumerate(choices):
            self.progress("placing the plans of the curve", done / len(choices))
            plan = self._placed(self._ordered(front.graph(choice)))
            if not found or plan.arena_bytes < found[-1].arena_bytes:
                share = None if choice == front.cheap else self._share(choice)
                options = replace(self.options, budget=None, recompute=share)
                found.append(replace(plan, options=options))
        self.progress("placing the plans of the curve", 1)
        return found

    def _share(self, choice: Choice) -> float:
        """The allowance that a choice takes, rounded up to a millionth."""
        return math.ceil(1e6 * choice.work / max(1, self.graph.flops)) / 1e6

    def _spending(self, share: float | None) -> Ordered:
        """The order of fewest bytes with that share of work; None: with cheap ops alone."""
        if share == 0 or "recompute" in self.options.disable_passes:
            return self._ordered(self.graph)
        front = self._chooser.cheap if share is None else self._front()
        best = self._ordered(front.graph(front.cheap))
        if share is not None:
            best = min(best, self._lowest(front, share), key=self._peak)
        if front.cheap.drop and self._peak(best) > self._bound(self.graph):
            return min(self._ordered(self.graph), best, key=self._peak)
        return best

    def _lowest(self, front: Front, share: float) -> Ordered:
        """The lowest choice with that share of work, or one of `SHARES` in a better order.

        Orders are searched for at those shares alone, so that no larger share needs more bytes.
        """
        whole = self.graph.flops
        best = Ordered(front.graph(front.within(int(share * whole))))
        for choice in {front.within(int(s * whole)): s for s in SHARES if s <= share}:
            if choice.peak <= ALIKE * self._peak(best):
                best = min(best, self._ordered(front.graph(choice)), key=self._peak)
        return best

    def within(self, budget: int) -> PlacedGraph:
        """The plan with the least extra work that fits; BudgetError where none does, with bytes
        that are the same for every budget below them, and that are enough."""
        if self.unspent.arena_bytes <= budget or not self._may_spend:
            return _fitting(self.unspent, budget)
        if budget <= NEAR * self.least_peak:
            _fitting(self.lowest, budget)
        front = self._front(budget)
        for choice in promising(front, self._most_work, budget):
            plan = self._placed(self._ordered(front.graph(choice)))
            if plan.arena_bytes <= budget:
                return plan
        return _fitting(self.lowest, budget)

    @cached_property
    def lowest(self) -> PlacedGraph:
        """The plan with the fewest bytes that there are for the work that may be spent."""
        if not self._may_spend:
            return self.unspent
        front = self._searched(lambda: self._chooser.lowest)
        choices = lowest_of(front, self._most_work)
        best = min((self._ordered(front.graph(choice)) for choice in choices), key=self._peak)
        return min(self.unspent, self._placed(best), key=lambda plan: plan.arena_bytes)

    @property
    def least_peak(self) -> int:
        """About what `lowest` needs: bytes live at once, and no order is searched for once more."""
        if not self._may_spend:
            return self.unspent.max_load_bytes
        front = self._searched(lambda: self._chooser.lowest)
        return min(c.peak for c in front.choices if c.work <= self._most_work)

    def like(self, plan: PlacedGraph) -> PlacedGraph:
        """With the order of a plan of the same step otherwise made, and what runs again there."""
        return self._placed(Ordered(Pattern.of(plan.graph).on(self.graph)))

    def peak_like(self, pattern: Pattern) -> int:
        """Most bytes live at once with that order; nothing is placed."""
        return self._peak(Ordered(pattern.on(self.graph)))

    @property
    def _may_spend(self) -> bool:
        allowed = "recompute" not in self.options.disable_passes and self.options.recompute != 0
        return allowed and self.mode.exact

    @property
    def _most_work(self) -> float:
        share = self.options.recompute
        return self.graph.flops * (len(self.graph.ops) if share is None else share)

    def _front(self, target: int | None = None) -> Front:
        chooser = self._chooser
        return self._searched(lambda: chooser.front if target is None else chooser.at(target))

    def _searched(self, search: Callable[[], Front]) -> Front:
        self.progress(SEARCHING, 0)
        front = search()
        self.progress(SEARCHING, 1)
        return front

    @cached_property
    def _chooser(self) -> Chooser:
        return Chooser(
            self.graph,
            lambda graph: self._ordered(graph).graph,
            self.options.alignment,
            lambda share: self.progress(SEARCHING, share),
        )

    # -- in which order ---------------------------------------------------------------------------

    def _ordered(self, graph: StepGraph) -> Ordered:
        if "order_for_peak" in self.options.disable_passes:
            return Ordered(graph)
        return order_for_peak(graph, self.options.alignment)

    def _peak(self, ordered: Ordered) -> int:
        return max(loads(ordered.graph, self.options.alignment), default=0)

    def _bound(self, graph: StepGraph) -> int:
        return Ordered(graph).lower_bound(self.options.alignment)

    # -- where ------------------------------------------------------------------------------------

    def _placed(self, ordered: Ordered) -> PlacedGraph:
        """With the fewest bytes, proven: where no placement comes down to the load of the order,
        other orders are tried that may."""
        bound = ordered.lower_bound(self.options.alignment)
        best = self._placed_as(ordered.graph, bound)
        for graph in ordered.others:
            if best.arena_bytes > max(best.max_load_bytes, self._peak(Ordered(graph))):
                plan = self._placed_as(graph, bound)
                best = min(best, plan, key=lambda plan: plan.arena_bytes)
        best = self._placed_otherwise(best)
        verify(best, self.stated)
        return best

    def _placed_otherwise(self, best: PlacedGraph) -> PlacedGraph:
        """The same, or in an order that is found at once and placed with fewer bytes."""
        fixed = not self.mode.exact or "order_for_peak" in self.options.disable_passes
        for _ in range(0 if fixed else OTHERWISE):
            limit = (best.max_load_bytes + best.arena_bytes) // 2
            if best.arena_bytes <= best.max_load_bytes + self.options.alignment:
                break
            graph = order_within(best.graph, limit, self.options.alignment)
            if graph is None:
                break
            effort = self.mode.effort // LESS
            plan = self._placed_as(graph, best.order_lower_bound_bytes, effort)
            best = min(best, plan, key=lambda plan: plan.arena_bytes)
            if best is not plan:
                break
        return best

    def _placed_as(self, graph: StepGraph, bound: int, effort: int | None = None) -> PlacedGraph:
        options, effort = self.options, self.mode.effort if effort is None else effort
        sharing = self.mode.share(graph)
        buffers = sharing.buffers()
        blocks = [_block(b, sharing, options.alignment, self.guard) for b in buffers]
        offsets, reached = _offsets(buffers, blocks, effort)
        placements = {
            t: Placement(offset, life.first, life.last)
            for buffer, offset in zip(buffers, offsets, strict=True)
            for t, life in _reserved(buffer, sharing).items()
        }
        return PlacedGraph(
            self.subject,
            options,
            graph,
            _with_views(graph, placements),
            arena_bytes=top(blocks, offsets),
            max_load_bytes=max_load(blocks),
            guard=self.guard,
            order_lower_bound_bytes=bound,
            placement_lower_bound_bytes=max_load(blocks) + (0 if reached else options.alignment),
        )


def _fitting(plan: PlacedGraph, budget: int) -> PlacedGraph:
    if plan.arena_bytes > budget:
        raise BudgetError(budget, plan.arena_bytes)
    return plan


def _block(buffer: Buffer, sharing: Sharing, alignment: int, guard: int) -> Block:
    lives = _reserved(buffer, sharing).values()
    life = Lifetime(min(x.first for x in lives), max(x.last for x in lives))
    return Block(-(-(buffer.nbytes + guard) // alignment) * alignment, life)


def _reserved(buffer: Buffer, sharing: Sharing) -> dict[Tensor, Lifetime]:
    """The members' lifetimes; in a buffer kept for the whole step they fill all of it."""
    alive = {t: sharing.alive[t] for t in buffer.members}
    if not buffer.kept:
        return alive
    starts = [0, *(alive[t].first for t in buffer.members[1:])]
    ends = [
        max(alive[t].last, following)
        for t, following in zip(buffer.members, [*starts[1:], len(sharing.graph.ops)], strict=True)
    ]
    return {t: Lifetime(a, b) for t, a, b in zip(buffer.members, starts, ends, strict=True)}


def _offsets(buffers: list[Buffer], blocks: list[Block], effort: int) -> tuple[list[int], bool]:
    """Persistent tensors at the arena's start in their own order, everything else above them; and
    False where no placement ends at the most bytes live at once, which was proved."""
    offsets = [0] * len(blocks)
    lasting = [i for i, b in enumerate(buffers) if b.members[0].persistent]
    passing = [i for i, b in enumerate(buffers) if not b.members[0].persistent]
    base = 0
    for i in lasting:
        offsets[i] = base
        base += blocks[i].size
    found, answer = lowest([blocks[i] for i in passing], effort)
    for i, offset in zip(passing, found, strict=True):
        offsets[i] = base + offset
    return offsets, not isinstance(answer, Impossible)


def _with_views(graph: StepGraph, placements: dict[Tensor, Placement]) -> dict[Tensor, Placement]:
    """Every view that an op uses, and every view that it is a view of, beside what owns bytes."""
    views: dict[Tensor, Placement] = {}
    for t in (*(t for op in graph.ops for t in (*op.reads, *op.writes)), *graph.outputs):
        link: Tensor | None = t
        while link is not None and link.view_of is not None and link not in views:
            views[link] = _within(placements[link.storage], link)
            link = link.view_of
    return {**placements, **views}


def _within(place: Placement, view: Tensor) -> Placement:
    return replace(place, offset=place.offset + view.start)
