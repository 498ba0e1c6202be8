"""What can be done to a right plan: single changes, and corruptions that make it wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from minidl.ir import Op, Tensor
from minidl.placed.graph import PlacedGraph, Placement
from tests.placed.handmade import ALIGNMENT, owner, true_lifetimes, with_load

Corruption = Callable[[PlacedGraph, random.Random], PlacedGraph | None]
"""A plan that is wrong for certain, or None where the plan has no place for it."""


# -- changes -----------------------------------------------------------------------------------


def named(plan: PlacedGraph, name: str) -> Tensor:
    return next(t for t in plan.placements if t.name == name)


def place(plan: PlacedGraph, t: Tensor, **change: int) -> PlacedGraph:
    """The tensor, and every view of it, placed otherwise."""
    moved = {
        other: replace(p, **change) if owner(other) is owner(t) else p
        for other, p in plan.placements.items()
    }
    return replace(plan, placements=moved)


def change_op(plan: PlacedGraph, index: int, **change: Any) -> PlacedGraph:
    ops = list(plan.graph.ops)
    ops[index] = replace(ops[index], **change)
    return with_ops(plan, ops)


def with_ops(plan: PlacedGraph, ops: list[Op]) -> PlacedGraph:
    return replace(plan, graph=replace(plan.graph, ops=tuple(ops)))


def swapped(plan: PlacedGraph, i: int, j: int) -> PlacedGraph:
    ops = list(plan.graph.ops)
    ops[i], ops[j] = ops[j], ops[i]
    return with_ops(plan, ops)


def retimed(plan: PlacedGraph) -> PlacedGraph:
    """The plan with the lifetimes and the load that its order has."""
    lives = true_lifetimes(plan.graph.ops, plan.graph.outputs)
    for t, (first, last) in lives.items():
        plan = place(plan, t, first=first, last=last)
    return with_load(plan)


def without(plan: PlacedGraph, t: Tensor) -> PlacedGraph:
    return replace(plan, placements={k: p for k, p in plan.placements.items() if k is not t})


def uses(plan: PlacedGraph, t: Tensor) -> list[int]:
    ops = enumerate(plan.graph.ops)
    return [i for i, o in ops if owner(t) in map(owner, (*o.reads, *o.writes))]


def bare(plan: PlacedGraph) -> list[Tensor]:
    """Used tensors that own bytes."""
    return [t for t in plan.placements if t.view_of is None and t.nbytes and uses(plan, t)]


# -- corruptions of any plan -------------------------------------------------------------------


def lifetime_cut(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    t = rng.choice(bare(plan))
    return place(plan, t, last=uses(plan, t)[-1])


def lifetime_late(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    t = rng.choice(bare(plan))
    return place(plan, t, first=uses(plan, t)[0] + 1)


def misaligned(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    t = rng.choice(bare(plan))
    return place(plan, t, offset=plan.placements[t].offset + 1)


def outside(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    beyond = -(-plan.arena_bytes // plan.options.alignment) * plan.options.alignment
    return place(plan, rng.choice(bare(plan)), offset=beyond)


def onto_another(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    """Two tensors that live together, for longer than a handover, on the same bytes."""
    pairs = [
        (a, b)
        for a in rng.sample(bare(plan), min(20, len(bare(plan))))
        for b in bare(plan)
        if a is not b and _together(plan.placements[a], plan.placements[b]) > 1
    ]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    return place(plan, a, offset=plan.placements[b].offset)


def _together(a: Placement, b: Placement) -> int:
    return min(a.last, b.last) - max(a.first, b.first)


def reader_first(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    """A reader in the place of the op that writes what it reads."""
    given = {*plan.graph.inputs, *(v.tensor for v in plan.graph.variables)}
    pairs = [
        (uses(plan, t)[0], i)
        for t in bare(plan)
        for i in uses(plan, t)[1:]
        if t not in given and t in map(owner, plan.graph.ops[i].reads)
    ]
    return swapped(plan, *rng.choice(pairs)) if pairs else None


def small_arena(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    ends = [p.offset + t.nbytes for t, p in plan.placements.items()]
    return replace(plan, arena_bytes=max(ends) + plan.guard - 1)


def unplaced(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    return without(plan, rng.choice(list(plan.placements)))


def undeclared(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    """An op that overwrites what it reads loses its leave to do so."""
    at = plan.placements
    indices = [
        i
        for i, o in enumerate(plan.graph.ops)
        for k, j in o.in_place
        if o.writes[k] is not o.reads[j] and at[o.writes[k]].offset == at[o.reads[j]].offset
    ]
    return change_op(plan, rng.choice(indices), in_place=()) if indices else None


def wrong_load(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    change = rng.choice((-1, 1)) * plan.options.alignment
    return replace(plan, max_load_bytes=plan.max_load_bytes + change)


def lost_output(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    """What ends within the step is called an output."""
    dead = [t for t in bare(plan) if plan.placements[t].last < len(plan.graph.ops)]
    outputs = (*plan.graph.outputs, rng.choice(dead)) if dead else ()
    return replace(plan, graph=replace(plan.graph, outputs=outputs)) if dead else None


def lost_variable(plan: PlacedGraph, rng: random.Random) -> PlacedGraph | None:
    """A tensor that is read before any op writes it, and that nobody fills."""
    graph = plan.graph
    first = [(v, uses(plan, v.tensor)) for v in graph.variables]
    read = [v for v, at in first if at and v.tensor in map(owner, graph.ops[at[0]].reads)]
    lost = rng.choice(read) if read else None
    kept = tuple(v for v in graph.variables if v is not lost)
    return replace(plan, graph=replace(graph, variables=kept)) if read else None


CORRUPTIONS: list[Corruption] = [
    lifetime_cut,
    lifetime_late,
    misaligned,
    outside,
    onto_another,
    reader_first,
    small_arena,
    unplaced,
    undeclared,
    wrong_load,
    lost_output,
    lost_variable,
]


# -- any single change ------------------------------------------------------------------------


def any_change(plan: PlacedGraph, rng: random.Random) -> PlacedGraph:
    """One field changed at random, right or wrong."""
    t = rng.choice(list(plan.placements))
    ops = plan.graph.ops
    i, j = rng.sample(range(len(ops)), 2)
    pairs = [(k, m) for k in range(len(ops[i].writes)) for m in range(len(ops[i].reads))]
    places = range(0, plan.arena_bytes, ALIGNMENT)
    changes: list[Callable[[], PlacedGraph]] = [
        lambda: place(plan, t, offset=rng.choice(places)),
        lambda: place(plan, t, offset=rng.choice(list(plan.placements.values())).offset),
        lambda: place(plan, t, offset=rng.randint(-1, plan.arena_bytes)),
        lambda: place(plan, t, first=rng.randint(0, len(ops)), last=rng.randint(0, len(ops))),
        lambda: swapped(plan, i, j),
        lambda: change_op(plan, i, in_place=tuple(rng.sample(pairs, 1))),
        lambda: change_op(plan, i, in_place=()),
        lambda: replace(plan, arena_bytes=rng.randint(0, plan.arena_bytes)),
        lambda: without(plan, t),
    ]
    return rng.choice(changes)()
