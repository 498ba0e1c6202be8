"""An op in the epilogue of the op that makes what it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from minidl.compiler.rewrites.uses import Uses
from minidl.ir import Op, StepGraph


def _part_by_part(maker: Op, consumer: Op) -> bool:
    """Whether the maker tells when parts of its write are complete, and the consumer's is alike."""
    return maker.takes.finishes and maker.writes[0].shape == consumer.writes[0].shape


def fuse_followers(
    graph: StepGraph,
    follows: Callable[[Op], bool],
    takes: Callable[[Op, Op], bool] = _part_by_part,
) -> StepGraph:
    """Fuse each op that `follows` allows with the op that makes its first read, if that `takes` it
    and nobody else reads what is between them."""
    uses = Uses(graph.ops)
    outputs = {t.storage for t in graph.outputs}
    for position, consumer in enumerate(graph.ops):
        makers = uses.writing(consumer.reads[0]) if follows(consumer) else []
        if len(makers) == 1 and consumer.reads[0] not in outputs:
            first = makers[0]
            if takes(uses.ops[first], consumer) and _alone(first, consumer, uses, position):
                uses.take(position)
                maker = uses.take(first)
                uses.put(first, _fused(maker, consumer))
    return replace(graph, ops=tuple(uses.in_order()))


def _alone(first: int, consumer: Op, uses: Uses, position: int) -> bool:
    """Whether nobody else reads the maker's first write, and what the consumer reads beside it is
    there by then."""
    maker, (between, *kept) = uses.ops[first], consumer.reads
    alone = maker.writes[0] is between and uses.reading(between) == [position]
    there = all(writer < first for t in kept for writer in uses.writing(t))
    return alone and there and maker.phase == consumer.phase


def _fused(maker: Op, consumer: Op) -> Op:
    """The two as one op, which may also write over what the consumer alone read."""
    reads = tuple(dict.fromkeys((*maker.reads, *consumer.reads[1:])))
    over = tuple((0, reads.index(consumer.reads[j])) for _, j in consumer.in_place if j)
    cheap = maker.contract.cheap and consumer.contract.cheap
    return replace(
        maker.promising(commutes="", cheap=cheap).taking(by_blocks=False, finishes=False),
        writes=(*consumer.writes, *maker.writes[1:]),
        reads=reads,
        in_place=(*maker.in_place, *over),
        flops=maker.flops + consumer.flops,
        fusion=replace(maker.fusion, main=maker, epilogue=consumer),
    )
