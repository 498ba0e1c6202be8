"""verify: the proof that runs at every compile. It shares no code with the planner.

A plan becomes a table of plain rows (`rows`); the checks read nothing else, so that a plan file
is proved by the same checks (`minidl.placed.verify.file`):

1. placements: aligned, within the arena, views within what they view (`lifetimes`);
2. sharing: within an op only declared in-place pairs share bytes, from the same first byte on,
   and no more bytes are written than the pair's read has (`replay`);
3. replay: every byte that is read was written last by the tensor it is read as (`replay`);
4. parts: a tensor that lies in another's bytes lies where its box says, and no element is read
   before it was written (`parts`);
5. update order: parameters are read before they are updated (`replay`);
6. lifetimes cover every use, and tensors that live together share no byte (`lifetimes`);
7. load: `max_load_bytes` is what the lifetimes say (`lifetimes`);
8. once: what changes a parameter or state runs once on the same operands (`replay`).

Where the graph is known that was planned, the plan does what it says: every change of a variable as
often, and nothing in place but with leave (`asked`).
"""

from __future__ import annotations

from collections.abc import Iterable

from minidl.ir import Op, PlanError, StepGraph, Tensor
from minidl.placed.graph import PlacedGraph
from minidl.placed.verify.asked import check_asked
from minidl.placed.verify.lifetimes import (
    check_load,
    check_overlaps,
    check_placements,
    check_uses,
)
from minidl.placed.verify.parts import check_parts
from minidl.placed.verify.replay import (
    check_repeated,
    check_replay,
    check_sharing,
    check_update_order,
)
from minidl.placed.verify.rows import OpRow, Table, TensorRow, roots

__all__ = ["check", "verify"]


def verify(plan: PlacedGraph, asked: StepGraph | None = None) -> None:
    """PlanError, with op, tensor and bytes, unless the plan is right.

    asked: the graph that was planned, as it was lowered.
    """
    check(_table(plan))
    if asked is not None:
        check_asked(plan.graph, asked)


def check(table: Table) -> None:
    """PlanError unless the rows are a right plan; replay first, since it says most."""
    check_placements(table)
    check_sharing(table)
    check_replay(table)
    check_parts(table)
    check_update_order(table)
    check_repeated(table)
    check_uses(table)
    check_overlaps(table)
    check_load(table)


def _table(plan: PlacedGraph) -> Table:
    tensors = _tensors(plan)
    row = {t: k for k, t in enumerate(tensors)}
    return Table(
        tensors=_tensor_rows(plan, tensors, row),
        ops=[_op_row(i, op, row) for i, op in enumerate(plan.graph.ops)],
        outputs=[row[t] for t in plan.graph.outputs],
        alignment=plan.options.alignment,
        arena_bytes=plan.arena_bytes,
        max_load_bytes=plan.max_load_bytes,
        guard=plan.guard,
    )


def _tensors(plan: PlacedGraph) -> list[Tensor]:
    """Every tensor that is placed, used or viewed; each needs a placement."""
    graph = plan.graph
    used = [t for op in graph.ops for t in (*op.reads, *op.writes)]
    variables = (v.tensor for v in graph.variables)
    tensors: dict[Tensor, None] = {}
    for t in (*variables, *graph.inputs, *graph.outputs, *used, *plan.placements):
        link: Tensor | None = t
        while link is not None and link not in tensors:
            tensors[link] = None
            link = link.view_of
    for t in tensors:
        if t not in plan.placements:
            raise PlanError(f"{t.kind} {t.name!r} has no placement{_first_use(graph.ops, t)}")
    return list(tensors)


def _first_use(ops: Iterable[Op], t: Tensor) -> str:
    for i, op in enumerate(ops):
        if t in (*op.reads, *op.writes):
            return f", and op {i} {op.name!r} uses it"
    return ""


def _tensor_rows(
    plan: PlacedGraph, tensors: list[Tensor], row: dict[Tensor, int]
) -> list[TensorRow]:
    variables = {v.tensor for v in plan.graph.variables}
    given = variables.union(plan.graph.inputs, plan.graph.waiting)
    owners = roots(
        [t.name for t in tensors],
        [None if t.view_of is None else row[t.view_of] for t in tensors],
    )
    rows = []
    for t, root in zip(tensors, owners, strict=True):
        _check_view(plan, t)
        place = plan.placements[t]
        # a view is whatever its root is; a parameter that is no variable is never filled
        base = tensors[root]
        persistent = base.kind in ("parameter", "state") or base in variables
        where = (_whole(t, place.offset), _whole(t, place.first), _whole(t, place.last))
        rows.append(
            TensorRow(
                t.name, t.kind, t.nbytes, *where, root, base in given, persistent, t.shape, t.region
            )
        )
    return rows


def _whole(t: Tensor, value: object) -> int:
    if not isinstance(value, int):
        raise PlanError(f"{t.kind} {t.name!r}: {value!r} in its placement is no whole number")
    return value


def _check_view(plan: PlacedGraph, t: Tensor) -> None:
    """A view has the bytes of what it views: all of them, or those of its box."""
    if t.view_of is None or t.box is not None:
        return
    offset, base = plan.placements[t].offset, plan.placements[t.view_of].offset
    if offset != base or t.nbytes != t.view_of.nbytes:
        raise PlanError(
            f"{t.kind} {t.name!r} at byte {offset} with {t.nbytes} bytes is a view of "
            f"{t.view_of.name!r} at byte {base} with {t.view_of.nbytes}"
        )


def _op_row(position: int, op: Op, row: dict[Tensor, int]) -> OpRow:
    for k, j in op.in_place:
        if not (0 <= k < len(op.writes) and 0 <= j < len(op.reads)):
            raise PlanError(f"op {position} {op.name!r}: in_place has no operands ({k}, {j})")
    return OpRow(
        op.name,
        op.phase,
        tuple(row[t] for t in op.reads),
        tuple(row[t] for t in op.writes),
        frozenset((row[op.writes[k]], row[op.reads[j]]) for k, j in op.in_place),
    )
