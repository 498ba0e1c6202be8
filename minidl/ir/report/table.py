"""The table that people read: what the step needs in every memory mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minidl.ir.report.costs import cost_lines
from minidl.ir.sizes import format_size

if TYPE_CHECKING:
    from minidl.ir.plan import Plan

IDEAS = {
    "naive": "every tensor has its own bytes for the whole step",
    "caffe": "data and diff of every blob; ReLU and dropout in place",
    "liveness": "bytes are free after their last use",
    "fujitsu2016": "caffe with gradients over data, one weight-gradient buffer",
    "arena": "all lossless rewrites, best order and placement",
    "recompute": "arena, and what the settings below spend",
}
"""What each mode adds, in the order in which the table shows them."""


def plan_table(plan: Plan) -> str:
    """A line for the step, a line a mode with bytes and share of `caffe`, the chosen one marked."""
    lines = [headline(plan)]
    lines.append(f"  {'mode':<12} {'arena':>12} {'of caffe':>9}  what it does")
    caffe = plan.modes.get("caffe")
    chosen = "recompute" if "recompute" in plan.modes else plan.setting.memory
    for mode, size in plan.modes.items():
        share = f"{100 * size / caffe:.1f} %" if caffe else ""
        mark = "*" if mode == chosen else " "
        lines.append(f"{mark} {mode:<12} {format_size(size):>12} {share:>9}  {IDEAS[mode]}")
    lines += [_settings(plan), *cost_lines(plan), _arena(plan), certificate(plan)]
    lines.append(_card(plan))
    return "\n".join(filter(None, lines))


def headline(plan: Plan) -> str:
    """The model and what the step is planned for."""
    s = plan.setting
    image = "x".join(map(str, s.image))
    return f"{s.model}  batch {s.batch}  image {image}  {s.precision}  device {s.device}"


def _settings(plan: Plan) -> str:
    """What the user asked for beside the mode."""
    s = plan.setting
    asked = [
        f"recompute {100 * s.recompute:g} %" if s.recompute is not None else "",
        f"budget {format_size(s.budget)}" if s.budget is not None else "",
        f"{s.slices} slices of the batch" if s.slices > 1 else "",
        f"without {', '.join(s.without)}" if s.without else "",
    ]
    return ", ".join(filter(None, asked))


def _arena(plan: Plan) -> str:
    ratio = plan.arena_bytes / max(1, plan.max_load_bytes)
    flops, again = plan.graph.flops, plan.recompute_flops
    more = f", {100 * again / max(1, flops - again):.2f} % of it run again" if again else ""
    return (
        f"{plan.setting.memory}: one arena of {plan.arena_bytes:,} bytes, {ratio:.3f} x the most "
        f"bytes live at once; {len(plan.graph.ops)} ops, {flops / 1e9:,.2f} GFLOP a step{more}"
    )


def _card(plan: Plan) -> str:
    """The GPU that the step is planned for."""
    card = plan.setting.card
    if card is None:
        return ""
    said = " assumed to be" if "kept" in card.assumed else ""
    return (
        f"card: {card.name}, {card.title}, {card.architecture}, {card.multiprocessors} "
        f"multiprocessors; {format_size(card.free)} of {format_size(card.memory)}{said} free"
    )


def certificate(plan: Plan) -> str:
    """In words, how near the plan is to the least that any order and placement can need."""
    bound = plan.order_lower_bound_bytes
    if plan.arena_bytes == bound:
        return "certificate: optimal; no order and no placement of these ops needs fewer bytes"
    gap = 100 * (plan.arena_bytes / max(1, bound) - 1)
    return (
        f"certificate: no order of these ops needs fewer than {bound:,} bytes; "
        f"the arena is {gap:.2f} % above that"
    )
