"""A snapshot that PyTorch's memory viewer opens: https://pytorch.org/memory_viz.

The format is that of `torch.cuda.memory._snapshot()`: a pickled dictionary of `segments` with
their blocks, and `device_traces` with the events that led there.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from minidl.files.atomic import write_atomically
from minidl.ir.op import Op
from minidl.ir.tensor import Tensor
from minidl.placed.graph import PlacedGraph

Frame = dict[str, Any]

BASE = 1 << 40
"""Address of the arena: any will do, but 0 means none to the viewer."""


def write_snapshot(plan: PlacedGraph, path: str | Path) -> None:
    """Write the step's allocations and frees, as if each tensor were one, to `path`."""
    write_atomically(path, pickle.dumps(snapshot(plan), protocol=4))


def snapshot(plan: PlacedGraph) -> dict[str, Any]:
    """The arena is one segment; a tensor is allocated at its first op and freed behind its last.

    Frames name tensor, layer and op; the line is the op's position in the schedule.
    """
    ends = _ends(plan)
    born: dict[int, list[Tensor]] = {}
    dead: dict[int, list[Tensor]] = {}
    for t, end in ends.items():
        born.setdefault(plan.placements[t].first, []).append(t)
        dead.setdefault(end, []).append(t)
    events = [_event("segment_alloc", 0, plan.arena_bytes, [_frame("arena", "one allocation", 0)])]
    for i, op in enumerate(plan.graph.ops):
        for t in dead.get(i, ()):
            events += [
                _event(action, plan.offset(t), t.nbytes, _frames(t, op, i))
                for action in ("free_requested", "free_completed")
            ]
        for t in born.get(i, ()):
            events.append(_event("alloc", plan.offset(t), t.nbytes, _frames(t, op, i)))
    for number, event in enumerate(events):
        event["time_us"] = number
    left = [t for t, end in ends.items() if end >= len(plan.graph.ops)]
    return {
        "segments": [_segment(plan, left)],
        "device_traces": [events],
        "allocator_settings": {},
        "external_annotations": [],
    }


def _ends(plan: PlacedGraph) -> dict[Tensor, int]:
    """The position before which each tensor's bytes are free; one that is written over in place
    ends where its successor begins, since a viewer knows no two blocks at one address."""
    ends = {t: place.last for t, place in plan.placements.items() if t.view_of is None and t.nbytes}
    for i, op in enumerate(plan.graph.ops):
        for k, j in op.in_place:
            new, old = op.writes[k].storage, op.reads[j].storage
            meet = new in ends and old in ends and plan.offset(new) == plan.offset(old)
            if meet and new is not old and plan.placements[new].first == i:
                ends[old] = min(ends[old], i)
    return ends


def _segment(plan: PlacedGraph, left: list[Tensor]) -> dict[str, Any]:
    """The arena with what is still allocated after the step; the bytes between are free."""
    blocks, end = [], 0
    last = len(plan.graph.ops) - 1
    for t in sorted(left, key=plan.offset):
        if plan.offset(t) > end:
            blocks.append(_block(end, plan.offset(t) - end, "inactive", []))
        frames = _frames(t, plan.graph.ops[last], last)
        blocks.append(_block(plan.offset(t), t.nbytes, "active_allocated", frames))
        end = plan.offset(t) + t.nbytes
    if plan.arena_bytes > end:
        blocks.append(_block(end, plan.arena_bytes - end, "inactive", []))
    used = sum(t.nbytes for t in left)
    return {
        "device": 0,
        "address": BASE,
        "total_size": plan.arena_bytes,
        "allocated_size": used,
        "active_size": used,
        "requested_size": used,
        "stream": 0,
        "segment_type": "large",
        "segment_pool_id": (0, 0),
        "is_expandable": False,
        "frames": [],
        "blocks": blocks,
    }


def _block(offset: int, size: int, state: str, frames: list[Frame]) -> dict[str, Any]:
    return {
        "address": BASE + offset,
        "size": size,
        "requested_size": size,
        "state": state,
        "frames": frames,
    }


def _event(action: str, offset: int, size: int, frames: list[Frame]) -> dict[str, Any]:
    return {
        "action": action,
        "addr": BASE + offset,
        "size": size,
        "stream": 0,
        "time_us": 0,
        "frames": frames,
    }


def _frames(t: Tensor, op: Op, position: int) -> list[Frame]:
    return [_frame(t.name, t.kind, position), _frame(op.name, op.layer or "step", position)]


def _frame(name: str, filename: str, line: int) -> Frame:
    return {"name": name, "filename": filename, "line": line}
