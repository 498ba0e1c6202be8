"""Max-pools in the epilogue of the op that makes their images."""

from __future__ import annotations

from minidl.compiler.rewrites.follow import fuse_followers
from minidl.ir import Op, StepGraph


def fuse_blocks(graph: StepGraph) -> StepGraph:
    """Run an op that reads images in blocks right behind the op that makes them block by block.

    The image between them, four times as large as what a 2x2 max-pool leaves of it, has no bytes
    and is never written.
    """
    return fuse_followers(graph, _follows, _takes)


def _follows(op: Op) -> bool:
    """Whether `op` reads blocks of an image, and writes its mask packed."""
    apart = op.contract.blocks is not None and op.contract.packs is None
    return apart and op.phase == "forward"


def _takes(maker: Op, _: Op) -> bool:
    return maker.takes.by_blocks
