"""What the plan did with each layer, in a few words; `explain` says more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from minidl.ir.graph import LayerNote
from minidl.ir.op import Op
from minidl.ir.printed import beside
from minidl.ir.tensor import Tensor
from minidl.placed.graph import PlacedGraph
from minidl.placed.loads import handed_over


class Part(NamedTuple):
    """An op as its layer stated it, and the op of the plan that it is in."""

    position: int
    op: Op
    part: Op

    @property
    def leads(self) -> bool:
        """Whether the planned op is this one, with or without others fused to it."""
        return self.part is self.op.original


def choices(plan: PlacedGraph) -> dict[str, tuple[str, ...]]:
    """By layer: fused with what, in place, joined, packed, run again, and how its gradients are
    made; nothing where the plan has the layer as it was stated."""
    kinds = {note.name: note.kind for note in plan.graph.layers}
    parts: dict[str, list[Part]] = {name: [] for name in kinds}
    for i, op in enumerate(plan.graph.ops):
        for part in op.parts:
            parts.setdefault(part.layer, []).append(Part(i, op, part))
    made = _Made(plan)
    parameters = _first_places(plan.graph.layers)
    return {
        note.name: tuple(
            dict.fromkeys(
                (
                    *_forward(made, note, parts[note.name], kinds),
                    *_backward(made, note.name, parts[note.name]),
                    *_shared(note, parameters),
                )
            )
        )
        for note in plan.graph.layers
    }


class _Made:
    """Where and when the plan has the tensors that ops make."""

    def __init__(self, plan: PlacedGraph) -> None:
        self.plan = plan
        self.written = {t for op in plan.graph.ops for t in op.writes}
        self.in_backward = {
            t.storage
            for op in plan.graph.ops
            if op.phase not in ("forward", "recompute")
            for t in op.writes
        }

    def in_place(self, p: Part) -> bool:
        """Whether the op writes something over what it reads."""
        pairs = ((p.op.writes[k].storage, p.op.reads[j].storage) for k, j in p.op.in_place)
        return any(handed_over(self.plan, p.position, new, old) for new, old in pairs)

    def over(self, position: int, new: Tensor, old: Tensor) -> bool:
        """Whether `new`, first written at `position`, has half of its bytes or more where `old`
        was read until then."""
        a, b = self.plan.placements[new], self.plan.placements[old]
        low, high = max(a.offset, b.offset), min(a.offset + new.nbytes, b.offset + old.nbytes)
        return a.first == position and b.last <= position + 1 and 2 * (high - low) >= new.nbytes


def _forward(
    made: _Made, note: LayerNote, parts: list[Part], kinds: dict[str, str]
) -> Iterator[str]:
    forward = [p for p in parts if p.part.phase == "forward" and p.op.phase == "forward"]
    if not forward:
        yield _without_op(made, note)
    for p in forward:
        if p.leads:
            others = [part.layer for part in p.op.parts if part is not p.part]
            if others:
                yield f"one kernel with {_listed(kinds.get(name) or name for name in others)}"
            if made.in_place(p):
                yield "in place"
        else:
            yield f"in the kernel of {beside(note.name, p.op.layer)}"
        if "bits" in p.part.attributes:
            yield f"mask of {p.part.attributes['bits']} bits"
    if any(p.op.phase == "recompute" for p in parts):
        yield "runs again"


def _without_op(made: _Made, note: LayerNote) -> str:
    """Why a layer has no forward op."""
    if note.output.view_of is not None:
        return "a view"
    if note.output.given or note.output in made.written:
        return "nothing to do"
    return "joined without a copy"


def _backward(made: _Made, layer: str, parts: list[Part]) -> Iterator[str]:
    backward = [p for p in parts if p.part.phase in ("dgrad", "wgrad")]
    if any(p.leads and _updates(p.op) for p in backward):
        yield "update in wgrad"
    if any(p.leads and _over_data(made, p, backward) for p in backward):
        yield "dgrad over the data"
    hosts = [p for p in backward if not p.leads]
    for name in dict.fromkeys(p.op.layer for p in hosts):
        phases = dict.fromkeys(p.op.phase for p in hosts if p.op.layer == name)
        yield f"gradient in {_listed(sorted(phases))} of {beside(layer, name)}"
    if any(p.part.phase == "dgrad" and _packed_late(made, p.part) for p in backward):
        yield "gradient from packed signs"


def _updates(op: Op) -> bool:
    """Whether the optimizer takes the weight gradient tile by tile."""
    epilogue = op.fusion.epilogue
    return op.phase == "wgrad" and epilogue is not None and epilogue.phase == "update"


def _over_data(made: _Made, p: Part, backward: Iterable[Part]) -> bool:
    """Whether a data gradient lies over what the layer's own gradient ops have read."""
    data = {t.storage for q in backward for t in q.op.reads if t.kind == "activation"}
    gradients = {t.storage for t in p.op.writes if t.kind == "gradient"}
    return any(made.over(p.position, new, old) for new in gradients for old in data)


def _packed_late(made: _Made, op: Op) -> bool:
    """Whether it reads a mask that was made for it after forward."""
    return any(t.kind == "mask" and t.storage in made.in_backward for t in op.reads)


def _first_places(notes: Iterable[LayerNote]) -> dict[Tensor, str]:
    """The layer's name at which each parameter is used first."""
    found: dict[Tensor, str] = {}
    for note in notes:
        for t in note.parameters:
            found.setdefault(t, note.name)
    return found


def _shared(note: LayerNote, first: dict[Tensor, str]) -> Iterator[str]:
    for name in dict.fromkeys(first[t] for t in note.parameters):
        if name != note.name:
            yield f"parameters of {beside(note.name, name)}"


def _listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
