"""From a step graph to a proven plan."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.buffers import Buffer, Sharing
from minidl.compiler.lifetimes import Lifetime, loads
from minidl.compiler.modes import check_switches, find_mode
from minidl.compiler.order import Ordered, order_for_peak
from minidl.compiler.place import Block, max_load, place, top
from minidl.compiler.recompute import Limits, recompute
from minidl.ir import BudgetError, LimitError, StepGraph, Tensor
from minidl.options import Options
from minidl.placed.graph import PlacedGraph, Placement, Subject
from minidl.placed.verify import verify

MOST_BYTES = 2**60
"""Of all tensors of a step; sums of them are then whole numbers of 64 bits."""

BUDGET_TRIES = 4
"""Plans for one budget, each with a lower target by what placement added to the last."""


def make_plan(graph: StepGraph, subject: Subject, options: Options, guard: int = 0) -> PlacedGraph:
    """Order `graph` and place every tensor as `options.memory` has it; proven, or PlanError.

    guard: bytes kept free behind every tensor. BudgetError where `options.budget` cannot be met.
    """
    check_switches(options.disable_passes)
    _require_countable(graph)
    plan = _within_budget(graph, subject, options, guard)
    verify(plan, graph)
    return plan


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


def _within_budget(graph: StepGraph, subject: Subject, options: Options, guard: int) -> PlacedGraph:
    """The plan with the least extra work that fits the budget, or the only one without a budget."""
    if options.budget is None:
        return _planned(graph, subject, options, guard)
    plan = _planned(graph, subject, replace(options, budget=None, recompute=None), guard)
    target = options.budget
    for _ in range(BUDGET_TRIES):
        if plan.arena_bytes <= options.budget:
            break
        plan = _planned(graph, subject, options, guard, target)
        target -= max(0, plan.arena_bytes - plan.max_load_bytes)  # what placement adds
    if plan.arena_bytes > options.budget:
        raise BudgetError(options.budget, plan.arena_bytes)
    return replace(plan, options=options)


def _planned(
    graph: StepGraph, subject: Subject, options: Options, guard: int = 0, target: int = 0
) -> PlacedGraph:
    mode, ordered = find_mode(options.memory), scheduled(graph, options, target)
    sharing = mode.share(ordered.graph)
    buffers = sharing.buffers()
    blocks = [_block(b, sharing, options.alignment, guard) for b in buffers]
    offsets = _offsets(buffers, blocks, mode.effort)
    placements = {
        t: Placement(offset, life.first, life.last)
        for buffer, offset in zip(buffers, offsets, strict=True)
        for t, life in _reserved(buffer, sharing).items()
    }
    return PlacedGraph(
        subject,
        options,
        ordered.graph,
        _with_views(ordered.graph, placements),
        arena_bytes=top(blocks, offsets),
        max_load_bytes=max_load(blocks),
        guard=guard,
        order_lower_bound_bytes=ordered.lower_bound(options.alignment),
    )


def scheduled(graph: StepGraph, options: Options, target: int = 0) -> Ordered:
    """The ops as `options.memory` rewrites and orders them, before anything has a place.

    target: bytes at which recomputation may stop.
    """
    mode = find_mode(options.memory)
    for change in mode.passes:
        if change.__name__ not in options.disable_passes:
            graph = change(graph)
    return _searched(graph, options, target) if mode.exact else Ordered(graph)


def _searched(graph: StepGraph, options: Options, target: int) -> Ordered:
    """Ops run again where that is allowed and helps; then the best order of all.

    What a choice saves in the order as it was may be less than what another order saves without
    it: both are ordered, unless the first is below what any order of the second needs.
    """
    spent = _recomputed(graph, options, target)
    if "order_for_peak" in options.disable_passes:
        return Ordered(spent)
    ordered = order_for_peak(spent, options.alignment)
    if spent is graph or _peak(ordered, options) <= Ordered(graph).lower_bound(options.alignment):
        return ordered
    plain = order_for_peak(graph, options.alignment)
    return min(plain, ordered, key=lambda o: _peak(o, options))


def _recomputed(graph: StepGraph, options: Options, target: int) -> StepGraph:
    if "recompute" in options.disable_passes:
        return graph
    return recompute(graph, _limits(graph, options, target), options.alignment)


def _peak(ordered: Ordered, options: Options) -> int:
    return max(loads(ordered.graph, options.alignment), default=0)


def _limits(graph: StepGraph, options: Options, target: int) -> Limits:
    if options.recompute is not None:
        return Limits(int(options.recompute * graph.flops), target)
    return Limits(graph.flops, target) if target else Limits()


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


def _offsets(buffers: list[Buffer], blocks: list[Block], effort: int) -> list[int]:
    """Persistent tensors at the arena's start in their own order, everything else above them."""
    offsets = [0] * len(blocks)
    lasting = [i for i, b in enumerate(buffers) if b.members[0].persistent]
    passing = [i for i in range(len(blocks)) if i not in set(lasting)]
    base = 0
    for i in lasting:
        offsets[i] = base
        base += blocks[i].size
    for i, offset in zip(passing, place([blocks[i] for i in passing], effort), strict=True):
        offsets[i] = base + offset
    return offsets


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
