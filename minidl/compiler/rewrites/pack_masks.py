"""Masks of few bits an element, packed."""

from __future__ import annotations

from dataclasses import replace

from minidl.ir import Op, StepGraph, Tensor
from minidl.ops.bits import packed_shape


def pack_masks(graph: StepGraph) -> StepGraph:
    """Give masks no more bits than their elements need: 2 for the argmax of a 2x2 max-pool."""
    packed: dict[Tensor, Tensor] = {}
    for op in graph.ops:
        if op.contract.packs is not None and op.phase == "forward":
            mask, bits = op.contract.packs
            shape = packed_shape(mask.shape, bits)
            packed[mask] = Tensor(f"{mask.name}.packed", shape, "uint8", "mask")
    return replace(graph, ops=tuple(_packing(op, packed) for op in graph.ops))


def _packing(op: Op, packed: dict[Tensor, Tensor]) -> Op:
    if op.contract.packs is None or op.contract.packs[0] not in packed:
        return op
    attributes = {**op.attributes, "bits": op.contract.packs[1]}
    op = op.substituted(lambda t: packed.get(t, t))
    return replace(op.promising(packs=None), attributes=attributes)
