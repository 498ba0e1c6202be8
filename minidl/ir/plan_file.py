"""The plan file: a plan as JSON that other programs read. docs/plan_file.md lists its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minidl.ir.card import Card
from minidl.ir.op import Op
from minidl.ir.tensor import Tensor

if TYPE_CHECKING:
    from minidl.ir.plan import Plan

FORMAT = 1


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan as plain data: tensors by id, ops in schedule order, sizes in bytes."""
    ids = {t: i for i, t in enumerate(plan.placements)}
    setting = plan.setting
    return {
        "format": FORMAT,
        "model": setting.model,
        "batch": setting.batch,
        "image": list(setting.image),
        "precision": setting.precision,
        "device": setting.device,
        "card": None if setting.card is None else _card(setting.card),
        "memory": setting.memory,
        "alignment": setting.alignment,
        "arena_bytes": plan.arena_bytes,
        "max_load_bytes": plan.max_load_bytes,
        "order_lower_bound_bytes": plan.order_lower_bound_bytes,
        "modes": dict(plan.modes),
        "guard": plan.guard,
        "outputs": [ids[t] for t in plan.graph.outputs],
        "without": list(setting.without),
        "recompute": setting.recompute,
        "budget": setting.budget,
        "slices": setting.slices,
        "prefetch": setting.prefetch,
        "clip_norm": setting.clip_norm,
        "accumulate": setting.accumulate,
        "recompute_flops": plan.recompute_flops,
        "step_flops": plan.graph.flops,
        "tensors": [_tensor(plan, t, ids) for t in ids],
        "ops": [_op(i, op, ids) for i, op in enumerate(plan.graph.ops)],
    }


def _card(card: Card) -> dict[str, Any]:
    return {
        "name": card.name,
        "architecture": card.architecture,
        "multiprocessors": card.multiprocessors,
        "memory_bytes": card.memory,
        "kept_bytes": card.kept,
    }


def _tensor(plan: Plan, t: Tensor, ids: dict[Tensor, int]) -> dict[str, Any]:
    place = plan.placements[t]
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
    if op.again:
        row["again"] = True
    return row
