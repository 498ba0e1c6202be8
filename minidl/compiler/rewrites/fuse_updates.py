"""Updates in the epilogue of wgrad: no weight-gradient buffer."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.rewrites.uses import Uses
from minidl.ir import Op, StepGraph, Tensor


def fuse_updates(graph: StepGraph) -> StepGraph:
    """Run an elementwise op in the epilogue of the tiled op that alone feeds it.

    wgrad then hands each finished tile of a weight gradient straight to the optimizer, and the
    weight gradient has no bytes. Only where nobody else reads it; and where the update writes the
    weights themselves, so that dgrad has to come first, only where they are larger than the data.
    """
    uses = Uses(graph.ops)
    for position, consumer in enumerate(graph.ops):
        if consumer.contract.elementwise and consumer.phase == "update":
            maker = _fusible(consumer, position, uses)
            if maker is not None:
                producer = uses.take(maker)
                uses.take(position)
                uses.put(position, _with_epilogue(producer, consumer))
    return replace(graph, ops=tuple(uses.in_order()))


def _fusible(consumer: Op, position: int, uses: Uses) -> int | None:
    """The position of the tiled op whose tiles `consumer` could take."""
    for t in consumer.reads:
        makers = uses.writing(t)
        producer = uses.ops[makers[0]] if len(makers) == 1 else None
        if producer is None or producer.takes.tiled is None or _tiles(producer) is not t:
            continue
        alone = uses.reading(t) == [position]
        shaped = all(x.shape in (t.shape, ()) for x in consumer.operands)
        fits = alone and shaped and _may_wait(producer, makers[0], position, uses)
        if fits and (producer.phase == "update" or t.nbytes >= _held_up(consumer, uses)):
            return makers[0]
    return None


def _held_up(consumer: Op, uses: Uses) -> int:
    """Bytes of the largest data gradient that would have to be made before the fused op, because
    it still reads the weights that the update writes: it could then not overwrite its layer's
    input. The larger of the two buffers decides."""
    readers = (uses.ops[p] for t in consumer.writes for p in uses.reading(t))
    waiting = (op for op in readers if op.phase == "dgrad")
    return max((t.nbytes for op in waiting for t in op.writes if t.kind == "gradient"), default=0)


def _may_wait(producer: Op, first: int, last: int, uses: Uses) -> bool:
    """Whether nothing between the two positions needs `producer` to have run or changes what it
    reads."""
    needing = (p for t in producer.writes if t.kind != "scratch" for p in uses.reading(t))
    changing = (p for t in producer.reads for p in uses.writing(t))
    return not any(first < p < last for p in (*needing, *changing))


def _with_epilogue(producer: Op, consumer: Op) -> Op:
    dropped = _tiles(producer)
    own = tuple(t for t in producer.writes if t is not dropped)
    return replace(
        producer.taking(tiled=None),
        writes=(*own, *consumer.writes),
        reads=tuple(
            dict.fromkeys((*producer.reads, *(t for t in consumer.reads if t is not dropped)))
        ),
        in_place=(),
        flops=producer.flops + consumer.flops,
        fusion=replace(producer.fusion, main=producer, epilogue=consumer),
    )


def _tiles(op: Op) -> Tensor:
    """The tensor that a tiled op hands over tile by tile."""
    return op.writes[op.takes.tiled or 0]
