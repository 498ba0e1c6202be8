"""Rewrites: pure functions from step graph to step graph that change bytes, never bits."""

from minidl.compiler.rewrites.chain_sums import chain_sums
from minidl.compiler.rewrites.commute_selections import commute_selections
from minidl.compiler.rewrites.fuse_activations import fuse_activations
from minidl.compiler.rewrites.fuse_blocks import fuse_blocks
from minidl.compiler.rewrites.fuse_gradients import fuse_gradients
from minidl.compiler.rewrites.fuse_updates import fuse_updates
from minidl.compiler.rewrites.hoist_updates import hoist_updates
from minidl.compiler.rewrites.inline_gradients import inline_gradients
from minidl.compiler.rewrites.join_parts import join_parts
from minidl.compiler.rewrites.keep_signs import keep_signs
from minidl.compiler.rewrites.pack_masks import pack_masks

__all__ = [
    "chain_sums",
    "commute_selections",
    "fuse_activations",
    "fuse_blocks",
    "fuse_gradients",
    "fuse_updates",
    "hoist_updates",
    "inline_gradients",
    "join_parts",
    "keep_signs",
    "pack_masks",
]
