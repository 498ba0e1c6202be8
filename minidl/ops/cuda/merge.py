"""Launches of sums of inputs, and of copies between a tensor and its parts."""

from __future__ import annotations

from minidl.ir import Op
from minidl.ops import merge as ops
from minidl.ops.cuda.elementwise import ELEMENTWISE, joined
from minidl.ops.cuda.launch import CppFile, Launch
from minidl.ops.cuda.rules import functor, rule

functor(ops.add_forward, file=CppFile("merge.cu"))


@rule(ops.concat_forward, ops.join_slices, file=ELEMENTWISE)
def join(op: Op) -> list[Launch]:
    axis = 0 if op.contract.joins == 0 else -1
    return joined(op.writes[0], op.reads, axis, forward=True)


@rule(ops.concat_dgrad, ops.cut_slices, file=ELEMENTWISE)
def cut(op: Op) -> list[Launch]:
    axis = 0 if op.contract.joins == 0 else -1
    return joined(op.reads[0], op.writes, axis, forward=False)
