"""The gradient of a ReLU in the epilogue of the data gradient in front of it."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.rewrites.uses import Uses
from minidl.ir import Op, StepGraph


def fuse_gradients(graph: StepGraph) -> StepGraph:
    """Run an elementwise gradient op on each part of the data gradient that it alone reads.

    The op then reads what the elementwise op kept (y) beside its own operands and may write over
    it, element by element: dX over X without packed signs, and one pass over the gradient less.
    """
    uses = Uses(graph.ops)
    outputs = {t.storage for t in graph.outputs}
    for position, consumer in enumerate(graph.ops):
        makers = uses.writing(consumer.reads[0]) if _follows(consumer) else []
        if len(makers) == 1 and _takes(uses.ops[makers[0]], makers[0], consumer, uses, position):
            if consumer.reads[0] not in outputs:
                uses.take(position)
                maker = uses.take(makers[0])
                uses.put(makers[0], _fused(maker, consumer))
    return replace(graph, ops=tuple(uses.in_order()))


def _follows(op: Op) -> bool:
    """Whether `op` is an elementwise gradient op that may lie over the gradient that arrives."""
    same = all(t.shape == op.writes[0].shape for t in op.reads)
    return op.elementwise and op.phase == "dgrad" and len(op.writes) == 1 and same


def _takes(maker: Op, first: int, consumer: Op, uses: Uses, position: int) -> bool:
    """Whether `maker` tells when parts of its first write are complete, nobody else reads it, and
    what the consumer reads beside it is there by then."""
    between, *kept = consumer.reads
    alone = maker.writes[0] is between and uses.reading(between) == [position]
    there = all(writer < first for t in kept for writer in uses.writing(t))
    return alone and there and maker.finishes and maker.phase == "dgrad"


def _fused(maker: Op, consumer: Op) -> Op:
    reads = tuple(dict.fromkeys((*maker.reads, *consumer.reads[1:])))
    over = tuple((0, reads.index(consumer.reads[j])) for _, j in consumer.in_place if j)
    return replace(
        maker,
        writes=(*consumer.writes, *maker.writes[1:]),
        reads=reads,
        in_place=(*maker.in_place, *over),
        flops=maker.flops + consumer.flops,
        finishes=False,
        epilogue=consumer,
        main=maker,
        dropped=maker.writes[0],
    )
