"""Packed signs of a ReLU's output instead of the output."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.rewrites.uses import Uses
from minidl.ir import Contract, Op, StepGraph, Tensor
from minidl.ops.signs import keep_positive, pack_signs, signs_shape


def keep_signs(graph: StepGraph) -> StepGraph:
    """Pack the signs of a ReLU's output just before its gradient is made.

    The gradient of the next layer's input can then overwrite that input (dX over X) although the
    ReLU's own gradient still has to know where it was positive: 1 bit an element instead of 32.
    """
    uses = Uses(graph.ops)
    packs: dict[Op, list[Op]] = {}
    reading: dict[Op, Op] = {}
    for op in graph.ops:
        if op.phase == "dgrad" and op.contract.commutes == "positive":
            dy, y = op.reads
            makers = uses.writing(dy)
            if makers and y not in graph.outputs:
                maker = graph.ops[makers[0]]
                signs = Tensor(f"{y.name}.signs", signs_shape(y.size), "uint8", "mask")
                packs.setdefault(maker, []).append(_packing(y, signs, maker.layer))
                reading[op] = _reading_signs(op, dy, signs)
    ops = (new for op in graph.ops for new in (*packs.get(op, ()), reading.get(op, op)))
    return replace(graph, ops=tuple(ops))


def _packing(y: Tensor, signs: Tensor, layer: str) -> Op:
    how = Contract(strided=True)
    return Op(pack_signs, layer, "dgrad", (signs,), (y,), flops=y.size, contract=how)


def _reading_signs(op: Op, dy: Tensor, signs: Tensor) -> Op:
    """The op that reads y no more: it passes dy where the sign says so."""
    contract = replace(op.contract, elementwise=False, commutes="")
    return replace(
        op, function=keep_positive, reads=(dy, signs), in_place=((0, 0),), contract=contract
    )
