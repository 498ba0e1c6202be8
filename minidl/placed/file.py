"""The plan file: a plan as JSON that other programs read. docs/plan_file.md lists its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minidl.ir.card import Card
from minidl.ir.op import Op
from minidl.ir.tensor import Tensor
from minidl.options import written
from minidl.placed.graph import PlacedGraph

FORMAT = 2
"""1, of version 0.1.0, had `without` for `disable_passes`, `again` for the phase `recompute`."""


def placed_to_dict(placed: PlacedGraph, modes: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The plan as plain data: tensors by id, ops in schedule order, sizes in bytes."""
    ids = {t: i for i, t in enumerate(placed.placements)}
    subject, options = placed.subject, placed.options
    return {
        "format": FORMAT,
        "model": subject.model,
        "batch": subject.batch,
        "image": list(subject.image),
        **{name: _value(value) for name, value in written(options).items()},
        "arena_bytes": placed.arena_bytes,
        "max_load_bytes": placed.max_load_bytes,
        "order_lower_bound_bytes": placed.order_lower_bound_bytes,
        "placement_lower_bound_bytes": placed.placement_lower_bound_bytes,
        "modes": dict(modes or {}),
        "guard": placed.guard,
        "outputs": [ids[t] for t in placed.graph.outputs],
        "recompute_flops": placed.recompute_flops,
        "step_flops": placed.graph.flops,
        "tensors": [_tensor(placed, t, ids) for t in ids],
        "ops": [_op(i, op, ids) for i, op in enumerate(placed.graph.ops)],
    }


def _value(value: Any) -> Any:
    """An option as JSON has it."""
    if isinstance(value, Card):
        return _card(value)
    return list(value) if isinstance(value, tuple) else value


def _card(card: Card) -> dict[str, Any]:
    return {
        "name": card.name,
        "architecture": card.architecture,
        "multiprocessors": card.multiprocessors,
        "memory_bytes": card.memory,
        "kept_bytes": card.kept,
    }


def _tensor(placed: PlacedGraph, t: Tensor, ids: dict[Tensor, int]) -> dict[str, Any]:
    place = placed.placements[t]
    row: dict[str, Any] = {
        "id": ids[t],
        "name": t.name,
        "kind": t.kind,
        "shape": list(t.shape),
        "dtype": t.dtype,
        "bytes": t.nbytes,
        "offset": place.offset,
        "first": place.first,
        "last": place.last,
    }
    if t.view_of is not None:
        row["view_of"] = ids[t.storage]
        if t.region is not None:
            row["box"] = [list(axis) for axis in t.region]
    return row


def _op(index: int, op: Op, ids: dict[Tensor, int]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "index": index,
        "name": op.name,
        "layer": op.layer,
        "phase": op.phase,
        "reads": [ids[t] for t in op.reads],
        "writes": [ids[t] for t in op.writes],
        "in_place": [[ids[op.writes[k]], ids[op.reads[j]]] for k, j in op.in_place],
        "flops": op.flops,
        "bytes_moved": op.bytes_moved,
    }
    return row
