"""Launches of sums of gradients."""

from __future__ import annotations

from minidl.ir import Op
from minidl.ops import sums as ops
from minidl.ops.cuda.elementwise import map_tensors
from minidl.ops.cuda.launch import CppFile, Launch
from minidl.ops.cuda.operands import SUMMED, ctype
from minidl.ops.cuda.rules import rule

FILE = CppFile("sums.cu")


def _rounded_to(op: Op) -> str:
    """What each partial sum of gradients is rounded to."""
    return ctype(op.writes[0])


@rule(ops.gradient_sum, file=FILE, template=_rounded_to)
def gradient_sum(op: Op) -> list[Launch]:
    """Where there are many parts, the total of some, then that total and more, rounded as ever.

    The total may lie over the first two parts, which the first launch reads.
    """
    (total,), parts = op.writes, op.reads
    later = range(SUMMED, len(parts), SUMMED - 1)
    summed = [parts[:SUMMED], *((total, *parts[i : i + SUMMED - 1]) for i in later)]
    return [map_tensors(op, [("Out", total), *(("In", t) for t in some)]) for some in summed]
