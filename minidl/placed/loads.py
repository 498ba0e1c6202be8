"""Bytes live at each op, and what is live where they are most."""

from __future__ import annotations

from itertools import accumulate

from minidl.ir.tensor import Tensor
from minidl.placed.graph import PlacedGraph


def plan_loads(plan: PlacedGraph) -> list[int]:
    """At each op the bytes of all live tensors, rounded up to the alignment; where one is written
    in place over another they count once. The maximum is `plan.max_load_bytes`."""
    change = [0] * (len(plan.graph.ops) + 1)
    for t, place in plan.placements.items():
        if t.view_of is None:
            change[place.first] += reserved(plan, t)
            change[place.last] -= reserved(plan, t)
    load = list(accumulate(change[:-1]))
    for i, op in enumerate(plan.graph.ops):
        for new, old in {(op.writes[k].storage, op.reads[j].storage) for k, j in op.in_place}:
            if handed_over(plan, i, new, old):
                load[i] -= min(reserved(plan, new), reserved(plan, old))
    return load


def live_at(plan: PlacedGraph, position: int) -> list[Tensor]:
    """What is live while the op at `position` runs, largest first."""
    live = [
        t
        for t, place in plan.placements.items()
        if t.view_of is None and place.first <= position < place.last
    ]
    return sorted(live, key=lambda t: -t.nbytes)


def reserved(plan: PlacedGraph, t: Tensor) -> int:
    """The tensor's bytes and guard, rounded up to the alignment."""
    alignment = plan.options.alignment
    return -(-(t.nbytes + plan.guard) // alignment) * alignment


def handed_over(plan: PlacedGraph, i: int, new: Tensor, old: Tensor) -> bool:
    """Whether the op at `i` writes `new` over `old`, both of which own bytes."""
    a, b = plan.placements[new], plan.placements[old]
    return new is not old and a.first == i and b.last == i + 1 and a.offset == b.offset


def scratch_cost(plan: PlacedGraph) -> int:
    """Bytes by which the peak of these ops in this order would be lower without any scratch."""
    loads = plan_loads(plan)
    bare = loads.copy()
    for t, place in plan.placements.items():
        if t.kind == "scratch" and t.view_of is None:
            for i in range(place.first, place.last):
                bare[i] -= reserved(plan, t)
    return max(loads, default=0) - max(bare, default=0)
