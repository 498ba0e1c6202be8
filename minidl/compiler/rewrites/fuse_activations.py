"""Activations in the epilogue of the op in front of them."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.rewrites.uses import Uses
from minidl.ir import Op, StepGraph


def fuse_activations(graph: StepGraph) -> StepGraph:
    """Run an elementwise op (ReLU) on each part of what it alone reads as soon as the part is made.

    So convolution, bias and ReLU are one op, max-pool and ReLU too; the tensor between them has no
    bytes, and its part is still in the cache.
    """
    uses = Uses(graph.ops)
    outputs = {t.storage for t in graph.outputs}
    for position, consumer in enumerate(graph.ops):
        makers = uses.writing(consumer.reads[0]) if _follows(consumer) else []
        if len(makers) == 1 and _takes(uses.ops[makers[0]], consumer, uses, position):
            if consumer.reads[0] not in outputs:
                uses.take(position)
                maker = uses.take(makers[0])
                uses.put(makers[0], _fused(maker, consumer))
    return replace(graph, ops=tuple(uses.in_order()))


def _follows(op: Op) -> bool:
    """Whether `op` is an elementwise forward op that may lie over the one tensor it reads."""
    single = len(op.reads) == len(op.writes) == 1
    return op.elementwise and op.phase == "forward" and single and (0, 0) in op.in_place


def _takes(maker: Op, consumer: Op, uses: Uses, position: int) -> bool:
    """Whether `maker` tells when parts of its first write are complete, and none else reads it."""
    (between,) = consumer.reads
    same = maker.writes[0] is between and between.shape == consumer.writes[0].shape
    return (
        same and maker.finishes and maker.phase == "forward" and uses.reading(between) == [position]
    )


def _fused(maker: Op, consumer: Op) -> Op:
    return replace(
        maker,
        writes=(*consumer.writes, *maker.writes[1:]),
        flops=maker.flops + consumer.flops,
        commutes="",
        finishes=False,
        cheap=maker.cheap and consumer.cheap,
        epilogue=consumer,
        main=maker,
        dropped=maker.writes[0],
    )
