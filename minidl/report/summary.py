"""A table of the layers: what each makes, has, costs and keeps, and what the plan did with it."""

from __future__ import annotations

from collections.abc import Iterable

from minidl.ir.graph import LayerNote
from minidl.ir.op import Op
from minidl.ir.tensor import Kind, Shape, Tensor
from minidl.placed.graph import PlacedGraph
from minidl.report.choices import choices
from minidl.report.columns import LayerRow, Summary, Totals
from minidl.report.table import headline

STASHED: tuple[Kind, ...] = ("activation", "mask")


def summarize(plan: PlacedGraph, naive: int | None = None) -> Summary:
    """One row a layer, read off the plan's ops, tensors and placements; naive: arena bytes in
    that memory mode."""
    by_name: dict[str, LayerNote] = {}
    for note in plan.graph.layers:
        by_name.setdefault(note.name, note)
    stash, flops, notes = stash_bytes(plan), _forward_flops(plan.graph.ops), choices(plan)
    counted: set[Tensor] = set()
    rows = []
    for name, note in by_name.items():
        own = [t for t in note.parameters if t not in counted]
        counted.update(own)
        rows.append(
            LayerRow(
                name,
                note.kind,
                _whole_batch(note.output.shape, plan.batch),
                _elements(own),
                flops.get(name, 0),
                stash.get(name, 0),
                notes[name],
            )
        )
    return Summary(headline(plan), tuple(rows), _totals(plan, sum(stash.values()), naive))


def stash_bytes(plan: PlacedGraph) -> dict[str, int]:
    """By layer the bytes that are written before the first gradient is, and read after it by the
    backward pass or by what runs again.

    A tensor counts for the layer whose output it is, or else for the layer of the op that writes
    it. Of a tensor that consists of parts each part counts where it is written.
    """
    ops, begin = plan.graph.ops, _begin_of_backward(plan.graph.ops)
    kept = {t.storage for op in ops[begin:] if op.phase != "forward" for t in op.reads}
    outputs: dict[str, str] = {}  # by name: a part of a concatenation is a tensor of its own
    for note in plan.graph.layers:
        outputs.setdefault(note.output.name, note.name)
    found: dict[str, int] = {}
    for op in ops[:begin]:
        for t in op.writes:
            if t.kind in STASHED and t.storage in kept:
                layer = _layer_of(op, t, outputs)
                found[layer] = found.get(layer, 0) + t.nbytes
    return found


def _begin_of_backward(ops: tuple[Op, ...]) -> int:
    """The position of the first op that writes a gradient: the loss's own."""
    begins = (i for i, op in enumerate(ops) if any(t.kind == "gradient" for t in op.writes))
    return next(begins, len(ops))


def _layer_of(op: Op, t: Tensor, outputs: dict[str, str]) -> str:
    """The layer that `t` counts for: the last one of those fused in `op` that writes it. Signs
    that are packed for a gradient ahead of time count for the layer whose output they are of."""
    own = t if op.phase == "forward" else op.reads[0]
    writer = next((part.layer for part in reversed(op.parts) if t in part.writes), op.layer)
    return outputs.get(own.name, writer)


def _forward_flops(ops: Iterable[Op]) -> dict[str, int]:
    """By layer, whatever its ops were fused with."""
    found: dict[str, int] = {}
    for op in ops:
        if op.phase == "forward":
            for part in op.parts:
                found[part.layer] = found.get(part.layer, 0) + part.flops
    return found


def _whole_batch(shape: Shape, batch: int) -> Shape:
    """The shape without slices."""
    return (batch, *shape[1:]) if shape else ()


def _totals(plan: PlacedGraph, stash: int, naive: int | None) -> Totals:
    variables = [v.tensor for v in plan.graph.variables]
    weights = [t for t in variables if t.kind == "parameter"]
    return Totals(
        parameters=_elements(weights),
        forward_flops=sum(_forward_flops(plan.graph.ops).values()),
        step_flops=plan.graph.flops,
        recompute_flops=plan.recompute_flops,
        stash=stash,
        weights=_bytes(weights),
        state=_bytes(t for t in variables if t.kind == "state"),
        inputs=_bytes(plan.graph.inputs),
        arena=plan.arena_bytes,
        naive=naive,
    )


def _elements(tensors: Iterable[Tensor]) -> int:
    return sum(t.size for t in tensors)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.nbytes for t in tensors)
