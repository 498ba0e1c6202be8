"""Rewrites: pure functions from step graph to step graph that change bytes, never bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from minidl.ir import Op, StepGraph, Tensor, dependencies
from minidl.ir.op import Function
from minidl.signs import pack_signs, signs_shape


def fuse_updates(graph: StepGraph) -> StepGraph:
    """Run an elementwise op in the epilogue of the tiled op that alone feeds it.

    wgrad then hands each finished tile of a weight gradient straight to the optimizer, and the
    weight gradient has no bytes. Only where nobody else reads it; and where the update writes the
    weights themselves, so that dgrad has to come first, only where they are larger than the data.
    """
    ops = list(graph.ops)
    for consumer in graph.ops:
        gradient = _fusible(consumer, ops)
        if gradient is not None:
            producer = next(op for op in ops if gradient in op.writes)
            ops[ops.index(consumer)] = _with_epilogue(producer, consumer, gradient)
            ops.remove(producer)
    return replace(graph, ops=tuple(ops))


def _fusible(consumer: Op, ops: list[Op]) -> Tensor | None:
    """The tensor that `consumer` could take tile by tile."""
    if not consumer.elementwise or consumer.phase != "update":
        return None
    for op in ops:
        if op.tiled is not None and op.writes[op.tiled] in consumer.reads:
            gradient = op.writes[op.tiled]
            readers = [other for other in ops if gradient in map(_storage, other.reads)]
            shaped = all(t.shape in (gradient.shape, ()) for t in consumer.operands)
            fits = readers == [consumer] and shaped and _may_wait(op, consumer, ops)
            if fits and gradient.nbytes >= _held_up(consumer, ops):
                return gradient
    return None


def _held_up(consumer: Op, ops: list[Op]) -> int:
    """Bytes of the largest data gradient that would have to be made before the fused op, because
    it still reads the weights that the update writes: it could then not overwrite its layer's
    input. The larger of the two buffers decides."""
    waiting = (
        op for op in ops if op.phase == "dgrad" and not set(consumer.writes).isdisjoint(op.reads)
    )
    return max((t.nbytes for op in waiting for t in op.writes if t.kind == "gradient"), default=0)


def _may_wait(producer: Op, consumer: Op, ops: list[Op]) -> bool:
    """Whether nothing between the two needs `producer` to have run or changes what it reads."""
    between = ops[ops.index(producer) + 1 : ops.index(consumer)]
    written = {t.storage for t in producer.writes if t.kind != "scratch"}
    read = {t.storage for t in producer.reads}
    return not any(
        written & set(map(_storage, op.reads)) or read & set(map(_storage, op.writes))
        for op in between
    )


def _with_epilogue(producer: Op, consumer: Op, dropped: Tensor) -> Op:
    own = tuple(t for t in producer.writes if t is not dropped)
    return replace(
        producer,
        writes=(*own, *consumer.writes),
        reads=tuple(
            dict.fromkeys((*producer.reads, *(t for t in consumer.reads if t is not dropped)))
        ),
        in_place=(),
        flops=producer.flops + consumer.flops,
        tiled=None,
        epilogue=consumer,
        main=producer,
        dropped=dropped,
    )


def _storage(t: Tensor) -> Tensor:
    return t.storage


def commute_selections(graph: StepGraph) -> StepGraph:
    """Move a ReLU behind the max-pool or dropout that alone reads it.

    For a "positive" f (ReLU) and a "selection" g (max-pool, dropout: each output is one input
    element, possibly scaled by a positive number, or +0) g(f(x)) == f(g(x)) to the bit, and the
    two backward passes may be swapped likewise. f then keeps g's output, which is smaller or is
    kept anyway, and g's input is dead after forward.
    """
    waiting = [op for op in graph.ops if op.commutes == "positive" and op.phase == "forward"]
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
    if g is None or g.commutes != "selection" or g.reads[0].storage is not y or y in graph.outputs:
        return graph
    backward = [op for op in readers if op is not g]
    df = _only(op for op in backward if op.commutes == "positive")
    dg = _only(op for op in graph.ops if op.commutes == "selection" and _undoes(graph, op, y))
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


def keep_signs(graph: StepGraph) -> StepGraph:
    """Pack the signs of a ReLU's output just before its gradient is made.

    The gradient of the next layer's input can then overwrite that input (dX over X) although the
    ReLU's own gradient still has to know where it was positive: 1 bit an element instead of 32.
    """
    packs: dict[Op, list[Op]] = {}
    reading: dict[Op, Op] = {}
    for op in graph.ops:
        if op.signs is not None:
            j, from_signs = op.signs
            y, dy = op.reads[j], op.reads[1 - j]
            maker = next((o for o in graph.ops if dy.storage in map(_storage, o.writes)), None)
            if maker is not None and y not in graph.outputs:
                signs = Tensor(f"{y.name}.signs", signs_shape(y.size), "uint8", "mask")
                pack = Op(pack_signs, maker.layer, "dgrad", (signs,), (y,), flops=y.size)
                packs.setdefault(maker, []).append(pack)
                reading[op] = _reading_signs(op, from_signs, dy, signs)
    ops = (new for op in graph.ops for new in (*packs.get(op, ()), reading.get(op, op)))
    return replace(graph, ops=tuple(ops))


def _reading_signs(op: Op, function: Function, dy: Tensor, signs: Tensor) -> Op:
    return replace(
        op,
        function=function,
        reads=(dy, signs),
        in_place=((0, 0),),
        elementwise=False,
        commutes="",
        signs=None,
    )


def hoist_updates(graph: StepGraph) -> StepGraph:
    """Move each update to right behind the last op that it must follow, instead of the end."""
    after = dependencies(graph.ops)
    hoisted: dict[int, list[Op]] = {}
    place: dict[int, int] = {}
    for i, op in enumerate(graph.ops):
        moves = op.phase == "update" or op.epilogue is not None
        place[i] = max((place[j] for j in after[i]), default=0) if moves else i
        hoisted.setdefault(place[i], []).append(op)
    return replace(graph, ops=tuple(op for i in sorted(hoisted) for op in hoisted[i]))
