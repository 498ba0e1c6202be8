"""A data gradient that its readers make themselves: what a max-pool spreads over an image."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.rewrites.uses import Uses
from minidl.ir import Op, StepGraph, Tensor


def inline_gradients(graph: StepGraph) -> StepGraph:
    """Drop the write of each op that spreads blocks where every reader can make it while it reads.

    dgrad, wgrad and the bias gradient of a convolution in front of a max-pool then read the pooled
    gradient and argmax; the gradient of the image, mostly zeros, has no bytes.
    """
    uses = Uses(graph.ops)
    outputs = {t.storage for t in graph.outputs}
    for position, maker in enumerate(graph.ops):
        if _spreads(maker) and maker.writes[0].storage not in outputs:
            (made,), readers = maker.writes, uses.reading(maker.writes[0])
            alone = uses.writing(made) == [position]
            if alone and readers and all(_inlines(uses.ops[p], made) for p in readers):
                uses.take(position)
                for p in readers:
                    uses.put(p, _with_prologue(uses.take(p), maker))
    return replace(graph, ops=tuple(uses.in_order()))


def _spreads(op: Op) -> bool:
    """Whether it spreads pixels over blocks, its mask packed."""
    blocks, packs = op.contract.blocks, op.contract.packs
    return op.phase == "dgrad" and blocks is not None and packs is None


def _inlines(op: Op, made: Tensor) -> bool:
    return op.takes.inlines is not None and op.original.reads[op.takes.inlines] is made


def _with_prologue(op: Op, maker: Op) -> Op:
    (made,) = maker.writes
    rest = tuple(t for t in op.reads if t is not made)
    reads = tuple(dict.fromkeys((*maker.reads, *rest)))
    pairs = ((k, op.reads[j]) for k, j in op.in_place)
    return replace(
        op.taking(inlines=None),
        reads=reads,
        in_place=tuple((k, reads.index(t)) for k, t in pairs if t is not made),
        flops=op.flops + maker.flops,
        fusion=replace(op.fusion, main=op.fusion.main or op, prologue=maker),
    )
