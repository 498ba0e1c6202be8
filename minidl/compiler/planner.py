"""From a step graph to a proven plan."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.buffers import Buffer, Sharing
from minidl.compiler.lifetimes import Lifetime
from minidl.compiler.modes import MODES, find_mode
from minidl.compiler.place import Block, max_load, place, top
from minidl.compiler.verify import verify
from minidl.ir import Placement, Plan, Setting, StepGraph, Tensor


def make_plan(graph: StepGraph, setting: Setting, guard: int = 0, modes: bool = False) -> Plan:
    """Order `graph` and place every tensor as `setting.memory` has it; proven, or PlanError.

    guard: bytes kept free behind every tensor. modes: also size every other memory mode.
    """
    plan = _planned(graph, setting, guard)
    verify(plan)
    if not modes:
        return plan
    others = [name for name in MODES if guard or name != setting.memory]
    sizes = {name: _planned(graph, replace(setting, memory=name)).arena_bytes for name in others}
    if not guard:
        sizes[setting.memory] = plan.arena_bytes
    return replace(plan, modes={name: sizes[name] for name in MODES})


def _planned(graph: StepGraph, setting: Setting, guard: int = 0) -> Plan:
    mode = find_mode(setting.memory)
    for rewrite in mode.passes:
        graph = rewrite(graph)
    sharing = mode.share(graph)
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
        graph,
        _with_views(graph, placements),
        arena_bytes=top(blocks, offsets),
        max_load_bytes=max_load(blocks),
        guard=guard,
        order_lower_bound_bytes=_order_lower_bound(graph, setting.alignment),
    )


def _order_lower_bound(graph: StepGraph, alignment: int) -> int:
    """Bytes that any order of these ops needs: what is persistent, and around the hungriest op
    what it reads and writes, less what it may overwrite."""

    def rounded(tensors: set[Tensor]) -> int:
        return sum(-(-t.nbytes // alignment) * alignment for t in tensors)

    lasting = {v.tensor for v in graph.variables} | {t for t in graph.outputs if t.size == 1}
    return rounded(lasting) + max(
        rounded({t.storage for t in (*op.reads, *op.writes)} - lasting)
        - rounded({op.writes[k].storage for k, _ in op.in_place} - lasting)
        for op in graph.ops
    )


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
    used = (t for op in graph.ops for t in (*op.reads, *op.writes))
    views = {t: placements[t.storage] for t in (*used, *graph.outputs) if t.view_of is not None}
    return {**placements, **views}
