"""The table that people read: what the step needs in every memory mode."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

from minidl.ir.sizes import format_size
from minidl.options import Options, about
from minidl.placed.graph import PlacedGraph
from minidl.placed.loads import scratch_cost
from minidl.report.costs import cost_lines
from minidl.report.others import Others


def plan_table(plan: PlacedGraph, others: Others) -> str:
    """A line for the step, a line a mode with bytes and share of `caffe`, the chosen one marked."""
    lines = [headline(plan)]
    lines.append(f"  {'mode':<12} {'arena':>12} {'of caffe':>9}  what it does")
    for row, share in others.shares():
        mark, size = "*" if row.chosen else " ", format_size(row.arena_bytes)
        lines.append(f"{mark} {row.name:<12} {size:>12} {share:>9}  {row.idea}")
    lines += [_asked(plan), *cost_lines(plan, others), _arena(plan), certificate(plan)]
    lines.append(_card(plan))
    return "\n".join(filter(None, lines))


def headline(plan: PlacedGraph) -> str:
    """The model and what the step is planned for."""
    s, options = plan.subject, plan.options
    image = "x".join(map(str, s.image))
    how = f"{options.precision}  device {options.device}"
    return f"{s.model}  batch {s.batch}  image {image}  {how}"


def _asked(plan: PlacedGraph) -> str:
    """What the user asked for beside the mode."""
    s = plan.options
    asked = [
        f"recompute {100 * s.recompute:g} %" if s.recompute is not None else "",
        f"budget {format_size(s.budget)}" if s.budget is not None else "",
        f"{s.slices} slices of the batch" if s.slices > 1 else "",
        f"without {', '.join(s.disable_passes)}" if s.disable_passes else "",
        *(f"{f.name} {getattr(s, f.name)}" for f in fields(s) if _unsaid(f, s)),
    ]
    return ", ".join(filter(None, asked))


SAID = ("memory", "recompute", "budget", "slices", "disable_passes", "clip_norm", "accumulate")
"""Settings of memory that the table says in words of their own."""


def _unsaid(setting: Field[Any], options: Options) -> bool:
    """Whether it is another setting of memory than those, and not as it is by default."""
    own = about(setting).group == "memory" and setting.name not in SAID
    return own and getattr(options, setting.name) != setting.default


def _arena(plan: PlacedGraph) -> str:
    ratio = plan.arena_bytes / max(1, plan.max_load_bytes)
    flops, twice = plan.graph.flops, plan.recompute_flops
    more = f", {100 * twice / max(1, flops - twice):.2f} % of it run again" if twice else ""
    return (
        f"{plan.options.memory}: one arena of {plan.arena_bytes:,} bytes, {ratio:.3f} x the most "
        f"bytes live at once; {len(plan.graph.ops)} ops, {flops / 1e9:,.2f} GFLOP a step{more}"
    )


def _card(plan: PlacedGraph) -> str:
    """The GPU that the step is planned for."""
    card = plan.options.card
    if card is None:
        return ""
    said = " assumed to be" if "kept" in card.assumed else ""
    return (
        f"card: {card.name}, {card.title}, {card.architecture}, {card.multiprocessors} "
        f"multiprocessors; {format_size(card.free)} of {format_size(card.memory)}{said} free"
    )


def certificate(plan: PlacedGraph) -> str:
    """In words, how near the plan is to the least that any order and placement can need."""
    bound, scratch = plan.order_lower_bound_bytes, scratch_cost(plan)
    given = f"; {format_size(scratch)} of it are scratch of these kernels" if scratch else ""
    if plan.arena_bytes == bound:
        words = "optimal; no order and no placement of these ops needs fewer bytes"
        return f"certificate: {words}{given}"
    gap = 100 * (plan.arena_bytes / max(1, bound) - 1)
    return (
        f"certificate: no order of these ops needs fewer than {bound:,} bytes; "
        f"the arena is {gap:.2f} % above that{given}{_placement(plan)}"
    )


def _placement(plan: PlacedGraph) -> str:
    """What is known of lower placements of this order, where the arena is above its load."""
    least, load = plan.placement_lower_bound_bytes, plan.max_load_bytes
    if plan.arena_bytes == load:
        return ""
    above = f"; the arena is {plan.arena_bytes - load:,} bytes above the most live at once, "
    return above + (
        "which no placement reaches: proven"
        if least > load
        else "and whether a placement reaches that was not decided"
    )
