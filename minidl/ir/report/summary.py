"""A table of the layers: what each makes, has, costs and keeps, and what the plan did with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minidl.ir.graph import LayerNote
from minidl.ir.op import Op
from minidl.ir.report.choices import choices
from minidl.ir.report.columns import summary_html, summary_text
from minidl.ir.report.table import headline
from minidl.ir.tensor import Kind, Shape, Tensor

if TYPE_CHECKING:
    from minidl.ir.plan import Plan

STASHED: tuple[Kind, ...] = ("activation", "mask")


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer at one place of the network; its slices of the batch together."""

    name: str
    kind: str
    """The layer's class; empty for what joins slices of the batch."""
    shape: Shape
    """Of the output, with the batch: (N, H, W, C), (N, features), or () of a loss."""
    parameters: int
    """Elements; those of a layer that is used again count where it is used first."""
    flops: int
    """Floating-point operations of forward for the whole batch; a multiply-add is two."""
    stash: int
    """Bytes written before the backward pass and read in it: packed masks count as packed, what
    runs again or has no buffer does not."""
    notes: tuple[str, ...]
    """What the plan did with the layer, in a few words each."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Of the whole step. FLOP for the whole batch, sizes in bytes."""

    parameters: int
    """Elements of all weights."""
    forward_flops: int
    step_flops: int
    """Forward, backward and updates, with what runs again."""
    again_flops: int
    """Of the forward ops that run again in the backward pass."""
    stash: int
    weights: int
    state: int
    """Of everything else that steps keep: optimizer state, running statistics, counters."""
    inputs: int
    arena: int
    naive: int | None
    """Of the arena in memory mode naive; None where it was not planned."""


@dataclass(frozen=True, repr=False)
class Summary:
    """A table when printed, or as the last line of a notebook's cell."""

    title: str
    rows: tuple[LayerRow, ...]
    """In the order of the network; the loss is the last."""
    totals: Totals

    def text(self, width: int = 120) -> str:
        """The table in lines of at most `width` characters, where names and figures leave room."""
        return summary_text(self, width)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return summary_html(self)


def summarize(plan: Plan) -> Summary:
    """One row a layer, read off the plan's ops, tensors and placements."""
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
                _whole_batch(note.output.shape, plan.setting.batch),
                _elements(own),
                flops.get(name, 0),
                stash.get(name, 0),
                notes[name],
            )
        )
    return Summary(headline(plan), tuple(rows), _totals(plan, sum(stash.values())))


def stash_bytes(plan: Plan) -> dict[str, int]:
    """By layer the bytes that are written before the first gradient is, and read after it by the
    backward pass or by what runs again.

    A tensor counts for the layer whose output it is, or else for the layer of the op that writes
    it. Of a tensor that consists of parts each part counts where it is written.
    """
    ops, begin = plan.graph.ops, _begin_of_backward(plan.graph.ops)
    kept = {t.storage for op in ops[begin:] if op.again or op.phase != "forward" for t in op.reads}
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
        if op.phase == "forward" and not op.again:
            for part in op.parts:
                found[part.layer] = found.get(part.layer, 0) + part.flops
    return found


def _whole_batch(shape: Shape, batch: int) -> Shape:
    """The shape without slices."""
    return (batch, *shape[1:]) if shape else ()


def _totals(plan: Plan, stash: int) -> Totals:
    variables = [v.tensor for v in plan.graph.variables]
    weights = [t for t in variables if t.kind == "parameter"]
    return Totals(
        parameters=_elements(weights),
        forward_flops=sum(_forward_flops(plan.graph.ops).values()),
        step_flops=plan.graph.flops,
        again_flops=plan.recompute_flops,
        stash=stash,
        weights=_bytes(weights),
        state=_bytes(t for t in variables if t.kind == "state"),
        inputs=_bytes(plan.graph.inputs),
        arena=plan.arena_bytes,
        naive=plan.modes.get("naive"),
    )


def _elements(tensors: Iterable[Tensor]) -> int:
    return sum(t.size for t in tensors)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.nbytes for t in tensors)
