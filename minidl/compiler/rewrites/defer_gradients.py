"""Weight gradients that something after the backward pass waits for, made after it."""

from __future__ import annotations

from dataclasses import replace

from minidl.compiler.rewrites.uses import Uses
from minidl.ir import Op, StepGraph, dependencies

BACKWARD = ("dgrad", "wgrad")


def defer_gradients(graph: StepGraph) -> StepGraph:
    """Move behind the backward pass each wgrad whose result has to be kept until then, where that
    is larger than the operands that have to be kept instead.

    So it is for large matrices where the norm of all gradients comes before the updates: those of
    VGG-16 are 471 MiB, what they are made of 10 MiB.
    """
    uses, end = Uses(graph.ops), _end_of_backward(graph.ops)
    late: set[int] = set()
    for i, after in enumerate(dependencies(graph.ops)):
        if i < end and (after & late or _waits(graph.ops[i], i, end, late, uses)):
            late.add(i)
    order = sorted(range(len(graph.ops)), key=lambda i: end if i in late else i)
    return replace(graph, ops=tuple(graph.ops[i] for i in order))


def _end_of_backward(ops: tuple[Op, ...]) -> int:
    return max((i + 1 for i, op in enumerate(ops) if op.phase in BACKWARD), default=0)


def _waits(op: Op, position: int, end: int, late: set[int], uses: Uses) -> bool:
    """Whether a weight gradient is kept beyond the backward pass, and is worth its operands.

    One that the backward pass goes on with, as BatchNorm's does, cannot wait: all else would too.
    """
    made = [t for t in op.writes if t.kind == "weight_gradient"]
    if op.phase != "wgrad" or not any(uses.reading(t)[-1:] > [end] for t in made):
        return False
    if any(uses.ops[p].phase in BACKWARD for t in op.writes for p in uses.reading(t)):
        return False
    ending = (
        t.nbytes
        for t in {t.storage for t in op.reads if not t.given}
        if all(p <= position or p in late for p in uses.reading(t))
    )
    return sum(t.nbytes for t in made) > sum(ending)
