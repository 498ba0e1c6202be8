"""Updates in the epilogue of wgrad: no weight-gradient buffer."""

from __future__ import annotations

from dataclasses import replace

from minidl.ir import Op, StepGraph, Tensor


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
