"""A ReLU behind the max-pool or dropout that follows it: the larger tensor is not kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from minidl.compiler.rewrites.uses import Uses
from minidl.ir import Op, StepGraph, Tensor


def commute_selections(graph: StepGraph) -> StepGraph:
    """Move a ReLU behind the max-pool or dropout that alone reads it.

    For a "positive" f (ReLU) and a "selection" g (max-pool, dropout: each output is one input
    element, possibly scaled by a positive number, or +0) g(f(x)) == f(g(x)) to the bit, and the
    two backward passes may be swapped likewise. f then keeps g's output, which is smaller or is
    kept anyway, and g's input is dead after forward.
    """
    uses = Uses(graph.ops)
    waiting = [
        op
        for op in graph.ops
        if op.contract.commutes == "positive" and op.phase == "forward"
        if any(graph.ops[p].contract.commutes == "selection" for p in uses.reading(op.writes[0]))
    ]
    while waiting:
        f = waiting.pop()
        changed = _commuted(graph, f)
        if changed is not graph:  # it may move on: ReLU, max-pool, dropout
            waiting += [
                op for op in changed.ops if op.function is f.function and op not in graph.ops
            ]
            graph = changed
    return graph


def _commuted(graph: StepGraph, f: Op) -> StepGraph:
    """`graph` with forward op `f` behind its only forward reader, or as it was."""
    y = f.writes[0]
    readers = [op for op in graph.ops if y in map(_storage, op.reads)]
    g = _only(op for op in readers if op.phase == "forward")
    if (
        g is None
        or g.contract.commutes != "selection"
        or g.reads[0].storage is not y
        or y in graph.outputs
    ):
        return graph
    backward = [op for op in readers if op is not g]
    df = _only(op for op in backward if op.contract.commutes == "positive")
    dg = _only(
        op for op in graph.ops if op.contract.commutes == "selection" and _undoes(graph, op, y)
    )
    if len(backward) != (df is not None) or (df is None) != (dg is None):
        return graph
    swapped, between = _swap_forward(f, g)
    gradient_of = dict(graph.gradient_of)
    if df is not None and dg is not None:
        if df.reads[0].storage is not dg.writes[0]:
            return graph
        backward_swap, d_between = _swap_backward(df, dg, g.writes[0])
        swapped |= backward_swap
        gradient_of[d_between] = between
    ops = tuple(new for op in graph.ops for new in swapped.get(op, (op,)))
    return replace(graph, ops=ops, gradient_of=gradient_of)


Swap = dict[Op, tuple[Op, ...]]
"""What stands in the place of an op."""


def _swap_forward(f: Op, g: Op) -> tuple[Swap, Tensor]:
    """x -f-> y -g-> z becomes x -g-> between -f-> z."""
    x, y, z = f.reads[0], g.reads[0], g.writes[0]
    between = replace(z, name=f"{z.name}.selected", view_of=None)
    selects = replace(g, reads=_put(g.reads, y, _shaped(x, y)), writes=_put(g.writes, z, between))
    return {g: (selects, replace(f, reads=(between,), writes=(z,))), f: ()}, between


def _swap_backward(df: Op, dg: Op, z: Tensor) -> tuple[Swap, Tensor]:
    """dz -dg-> dy -df-> dx becomes dz -df-> between -dg-> dx; df then reads z instead of y."""
    dx, dy, dz = df.writes[0], dg.writes[0], dg.reads[0]
    between = replace(dz, name=f"{dz.name}.selected", view_of=None)
    cuts = replace(df, writes=(between,), reads=(dz, z))
    routes = replace(
        dg, writes=_put(dg.writes, dy, _shaped(dx, dy)), reads=_put(dg.reads, dz, between)
    )
    return {dg: (cuts, routes), df: ()}, between


def _shaped(t: Tensor, like: Tensor) -> Tensor:
    """`t`, or its bytes in the shape of `like`: a Flatten may stand between the two ops."""
    return t if t.shape == like.shape else replace(t, shape=like.shape, view_of=t)


def _undoes(graph: StepGraph, op: Op, y: Tensor) -> bool:
    """Whether `op` makes the only gradient of `y`."""
    forward = graph.gradient_of.get(op.writes[0])
    return op.phase == "dgrad" and forward is not None and forward.storage is y


def _put(tensors: tuple[Tensor, ...], old: Tensor, new: Tensor) -> tuple[Tensor, ...]:
    return tuple(new if t is old else t for t in tensors)


def _only(ops: Iterable[Op]) -> Op | None:
    found = list(ops)
    return found[0] if len(found) == 1 else None


def _storage(t: Tensor) -> Tensor:
    return t.storage
