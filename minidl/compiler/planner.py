"""From a step graph to a proven plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from minidl.compiler.buffers import Buffer, Sharing
from minidl.compiler.lifetimes import Lifetime
from minidl.compiler.modes import MODES, check_switches, find_mode
from minidl.compiler.order import Ordered, order_for_peak
from minidl.compiler.place import Block, max_load, place, top
from minidl.compiler.recompute import Limits, recompute
from minidl.compiler.verify import verify
from minidl.ir import BudgetError, LimitError, Placement, Plan, Setting, StepGraph, Tensor

MOST_BYTES = 2**60
"""Of all tensors of a step; sums of them are then whole numbers of 64 bits."""

BUDGET_TRIES = 4
"""Plans for one budget, each with a lower target by what placement added to the last."""


def make_plan(graph: StepGraph, setting: Setting, guard: int = 0, modes: bool = False) -> Plan:
    """Order `graph` and place every tensor as `setting.memory` has it; proven, or PlanError.

    guard: bytes kept free behind every tensor. modes: the plan sizes every memory mode when asked.
    BudgetError where `setting.budget` cannot be met.
    """
    check_switches(setting.without)
    _require_countable(graph)
    plan = _within_budget(graph, setting, guard)
    verify(plan)
    return replace(plan, modes=_Sizes(graph, plan)) if modes else plan


class _Sizes(Mapping[str, int]):
    """Arena bytes of the step in every memory mode, by name.

    They are worked out when one of them is asked for: it takes longer than the plan itself, and a
    step that only runs needs none.
    """

    def __init__(self, graph: StepGraph, plan: Plan) -> None:
        self._graph, self._setting, self._guard = graph, plan.setting, plan.guard
        self._arena_bytes = plan.arena_bytes

    @cached_property
    def _by_mode(self) -> dict[str, int]:
        plain = replace(self._setting, recompute=None, budget=None)
        own = self._setting.memory if self._setting == plain and not self._guard else None
        sizes = {
            name: self._arena_bytes
            if name == own
            else _planned(self._graph, replace(plain, memory=name)).arena_bytes
            for name in MODES
        }
        return sizes if self._setting == plain else {**sizes, "recompute": self._arena_bytes}

    def __getitem__(self, mode: str) -> int:
        return self._by_mode[mode]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_mode)

    def __len__(self) -> int:
        return len(self._by_mode)

    def __repr__(self) -> str:
        return repr(self._by_mode)


def _require_countable(graph: StepGraph) -> None:
    """LimitError where bytes are more than any offset can count."""
    owners = dict.fromkeys(t.storage for op in graph.ops for t in (*op.reads, *op.writes))
    largest = max(owners, key=lambda t: t.nbytes, default=None)
    if largest is not None and sum(t.nbytes for t in owners) > MOST_BYTES:
        raise LimitError(
            f"the step's tensors are more than {MOST_BYTES:,} bytes, {largest.name} "
            f"{largest.shape} the largest: use a smaller batch, or smaller layers"
        )


def _within_budget(graph: StepGraph, setting: Setting, guard: int) -> Plan:
    """The plan with the least extra work that fits the budget, or the only one without a budget."""
    if setting.budget is None:
        return _planned(graph, setting, guard)
    plan = _planned(graph, replace(setting, budget=None, recompute=None), guard)
    target = setting.budget
    for _ in range(BUDGET_TRIES):
        if plan.arena_bytes <= setting.budget:
            break
        plan = _planned(graph, setting, guard, target)
        target -= max(0, plan.arena_bytes - plan.max_load_bytes)  # what placement adds
    if plan.arena_bytes > setting.budget:
        raise BudgetError(setting.budget, plan.arena_bytes)
    return replace(plan, setting=setting)


def _planned(graph: StepGraph, setting: Setting, guard: int = 0, target: int = 0) -> Plan:
    mode = find_mode(setting.memory)
    for change in mode.passes:
        if change.__name__ not in setting.without:
            graph = change(graph)
    ordered = _searched(graph, setting, target) if mode.exact else Ordered(graph)
    sharing = mode.share(ordered.graph)
    buffers = sharing.buffers()
    blocks = [_block(b, sharing, setting.alignment, guard) for b in buffers]
    offsets = _offsets(buffers, blocks, mode.effort)
    placements = {
        t: Placement(offset, life.first, life.last)
        for buffer, offset in zip(buffers, offsets, strict=True)
        for t, life in _reserved(buffer, sharing).items()
    }
    return Plan(
        setting,
        ordered.graph,
        _with_views(ordered.graph, placements),
        arena_bytes=top(blocks, offsets),
        max_load_bytes=max_load(blocks),
        guard=guard,
        order_lower_bound_bytes=ordered.lower_bound(setting.alignment),
    )


def _searched(graph: StepGraph, setting: Setting, target: int) -> Ordered:
    """Ops run again where that is allowed and helps; then the best order of all."""
    if "recompute" not in setting.without:
        graph = recompute(graph, _limits(graph, setting, target), setting.alignment)
    if "order_for_peak" in setting.without:
        return Ordered(graph)
    return order_for_peak(graph, setting.alignment)


def _limits(graph: StepGraph, setting: Setting, target: int) -> Limits:
    if setting.recompute is not None:
        return Limits(int(setting.recompute * graph.flops), target)
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
