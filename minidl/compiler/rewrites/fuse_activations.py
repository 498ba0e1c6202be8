"""Activations in the epilogue of the op in front of them."""

from __future__ import annotations

from minidl.compiler.rewrites.follow import fuse_followers
from minidl.ir import Op, StepGraph


def fuse_activations(graph: StepGraph) -> StepGraph:
    """Run an elementwise op (ReLU) on each part of what it alone reads as soon as the part is made.

    So convolution, bias and ReLU are one op, max-pool and ReLU too; the tensor between them has no
    bytes, and its part is still in the cache.
    """
    return fuse_followers(graph, _follows)


def _follows(op: Op) -> bool:
    """Whether `op` is an elementwise forward op that may lie over the one tensor it reads."""
    single = len(op.reads) == len(op.writes) == 1
    return op.contract.elementwise and op.phase == "forward" and single and (0, 0) in op.in_place
