"""What the compiler chose, layer by layer, in plain words; read off the plan alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minidl.ir.op import Op
from minidl.ir.sizes import format_size
from minidl.ir.tensor import Tensor
from minidl.placed.graph import PlacedGraph
from minidl.placed.loads import scratch_cost
from minidl.report.costs import cost_lines
from minidl.report.others import Others
from minidl.report.takeovers import Takeover, Takeovers


@dataclass(frozen=True, slots=True)
class Explained:
    """One layer's choices."""

    layer: str
    lines: tuple[str, ...]


def explain(plan: PlacedGraph) -> list[Explained]:
    """For each layer, in the order of its first op: what each op's result lies over and what that
    saves, the order of dgrad, wgrad and update, and what is made again instead of kept."""
    layers: dict[str, list[int]] = {}
    for i, op in enumerate(plan.graph.ops):
        layers.setdefault(op.layer, []).append(i)
    takes = Takeovers(plan)
    found = []
    for layer, positions in layers.items():
        lines = [line for i in positions for line in _op_lines(plan, i, takes)]
        order = _order_line(plan, positions)
        found.append(Explained(layer or "the step", tuple(filter(None, (*lines, order)))))
    return found


def explain_text(plan: PlacedGraph, others: Others) -> str:
    """`explain` as text: what settings cost, then a paragraph a layer."""
    layers = (
        "\n".join((layer.layer, *(f"    {line}" for line in layer.lines)))
        for layer in explain(plan)
    )
    return "\n".join((*cost_lines(plan, others), *_scratch_lines(plan), *layers))


def _scratch_lines(plan: PlacedGraph) -> Iterator[str]:
    """What the workspace of kernels costs, and who has the most of it."""
    rooms = {op: sum(t.nbytes for t in op.writes if t.kind == "scratch") for op in plan.graph.ops}
    most = max(rooms, key=rooms.__getitem__, default=None)
    if most is not None and rooms[most]:
        yield (
            f"scratch: {sum(map(bool, rooms.values()))} ops plan some, {most.name} the most, "
            f"{format_size(rooms[most])}; without any the peak of this order would be "
            f"{format_size(scratch_cost(plan))} lower"
        )


def _op_lines(plan: PlacedGraph, i: int, takes: Takeovers) -> Iterator[str]:
    op = plan.graph.ops[i]
    name = op.kernel
    if op.phase == "recompute":
        yield (
            f"op {i} {name} runs again ({op.flops / 1e6:,.1f} MFLOP): its result was not kept "
            "since the forward pass"
        )
    between, epilogue = op.fusion.between, op.fusion.epilogue
    if between is not None and between.kind == "weight_gradient":
        yield (
            f"op {i} {name}: the weight gradient has no buffer; the update takes each tile of it "
            f"in wgrad's epilogue and saves {format_size(between.nbytes)}"
        )
    if epilogue is not None and epilogue.original.contract.blocks:
        image = epilogue.original.reads[0]
        yield f"op {i} {name}: {_tensor(image)} has no buffer; the max-pool follows in the kernel"
    if op.fusion.prologue is not None:
        (made,) = op.fusion.prologue.writes
        yield f"op {i} {name}: {_tensor(made)} has no buffer; each part is made where it is read"
    for t in op.writes:
        if t.kind in ("scratch", "parameter", "state") or plan.placements[t.storage].first != i:
            continue
        yield f"op {i} {name} writes {_tensor(t)} {_where(t, takes.of(t.storage, op))}"


def _where(t: Tensor, takeover: Takeover) -> str:
    if takeover.in_place is not None:
        return (
            f"in place over {takeover.in_place.name}, which is read here for the last time: "
            f"saves {format_size(min(t.nbytes, takeover.in_place.nbytes))}"
        )
    if takeover.reused:
        once = list(dict.fromkeys(o.name for o in takeover.reused))[:2]
        names, others = ", ".join(once), takeover.count - len(once)
        more = f" and {others} more" if others else ""
        return f"into bytes of {names}{more}, dead by now"
    return "into free bytes"


def _tensor(t: Tensor) -> str:
    return f"{t.name} ({t.kind.replace('_', ' ')}, {format_size(t.nbytes)})"


def _order_line(plan: PlacedGraph, positions: list[int]) -> str:
    """Why dgrad or wgrad runs first, where the layer has both."""
    ops = plan.graph.ops
    dgrad = next((i for i in positions if _makes(ops[i], "dgrad", "gradient")), None)
    wgrad = next((i for i in positions if ops[i].phase == "wgrad"), None)
    if dgrad is None or wgrad is None:
        return ""
    data = max((t.nbytes for t in ops[dgrad].writes if t.kind == "gradient"), default=0)
    weights = max(
        (t.nbytes for t in (*ops[wgrad].writes, ops[wgrad].fusion.between) if t and _weighs(t)),
        default=0,
    )
    sizes = f"dX has {format_size(data)}, dW {format_size(weights)}"
    if set(ops[dgrad].reads) & set(ops[wgrad].writes):
        return "order: wgrad before dgrad, which reads what wgrad has found"
    if wgrad < dgrad:
        return (
            f"order: wgrad before dgrad ({sizes}): once wgrad has read the layer's input, dgrad "
            "may write dX into those bytes"
        )
    return (
        f"order: dgrad before wgrad ({sizes}): dgrad has read the weights by then, so that the "
        "update may follow wgrad at once"
    )


def _makes(op: Op, phase: str, kind: str) -> bool:
    return op.phase == phase and any(t.kind == kind for t in op.writes)


def _weighs(t: Tensor) -> bool:
    return t.kind in ("weight_gradient", "parameter", "state")
