"""The gradient of a ReLU in the epilogue of the data gradient in front of it."""

from __future__ import annotations

from minidl.compiler.rewrites.follow import fuse_followers
from minidl.ir import Op, StepGraph


def fuse_gradients(graph: StepGraph) -> StepGraph:
    """Run an elementwise gradient op on each part of the data gradient that it alone reads.

    The op then reads what the elementwise op kept (y) beside its own operands and may write over
    it, element by element: dX over X without packed signs, and one pass over the gradient less.
    """
    return fuse_followers(graph, _follows)


def _follows(op: Op) -> bool:
    """Whether `op` is an elementwise gradient op that may lie over the gradient that arrives."""
    same = all(t.shape == op.writes[0].shape for t in op.reads)
    return op.contract.elementwise and op.phase == "dgrad" and len(op.writes) == 1 and same
