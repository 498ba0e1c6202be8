"""The table that people read: what the step needs in every memory mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minidl.ir.sizes import format_size

if TYPE_CHECKING:
    from minidl.ir.plan import Plan

IDEAS = {
    "naive": "every tensor has its own bytes for the whole step",
    "caffe": "data and diff of every blob; ReLU and dropout in place",
    "liveness": "bytes are free after their last use",
    "fujitsu2016": "caffe with gradients over data, one weight-gradient buffer",
    "arena": "all lossless rewrites, best order and placement",
}
"""What each mode adds, in the order in which the table shows them."""


def plan_table(plan: Plan) -> str:
    """A line for the step, a line a mode with bytes and share of `caffe`, the chosen one marked."""
    s = plan.setting
    image = "x".join(map(str, s.image))
    lines = [f"{s.model}  batch {s.batch}  image {image}  {s.precision}  device {s.device}"]
    lines.append(f"  {'mode':<12} {'arena':>12} {'of caffe':>9}  what it does")
    caffe = plan.modes.get("caffe")
    for mode, size in plan.modes.items():
        share = f"{100 * size / caffe:.1f} %" if caffe else ""
        mark = "*" if mode == s.memory else " "
        lines.append(f"{mark} {mode:<12} {format_size(size):>12} {share:>9}  {IDEAS[mode]}")
    ratio = plan.arena_bytes / max(1, plan.max_load_bytes)
    lines.append(
        f"{s.memory}: one arena of {plan.arena_bytes:,} bytes, {ratio:.3f} x the most bytes live "
        f"at once; {len(plan.graph.ops)} ops, {plan.graph.flops / 1e9:,.2f} GFLOP a step"
    )
    return "\n".join(lines)
