"""Packed signs of a ReLU's output instead of the output."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.rewrites.uses import Uses
from minidl.ir import Op, StepGraph, Tensor
from minidl.ir.op import Function
from minidl.ops.signs import pack_signs, signs_shape


def keep_signs(graph: StepGraph) -> StepGraph:
    """Pack the signs of a ReLU's output just before its gradient is made.

    The gradient of the next layer's input can then overwrite that input (dX over X) although the
    ReLU's own gradient still has to know where it was positive: 1 bit an element instead of 32.
    """
    uses = Uses(graph.ops)
    packs: dict[Op, list[Op]] = {}
    reading: dict[Op, Op] = {}
    for op in graph.ops:
        if op.signs is not None:
            j, from_signs = op.signs
            y, dy = op.reads[j], op.reads[1 - j]
            makers = uses.writing(dy)
            if makers and y not in graph.outputs:
                maker = graph.ops[makers[0]]
                signs = Tensor(f"{y.name}.signs", signs_shape(y.size), "uint8", "mask")
                pack = Op(
                    pack_signs, maker.layer, "dgrad", (signs,), (y,), flops=y.size, strided=True
                )
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
