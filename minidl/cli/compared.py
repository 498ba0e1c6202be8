"""Tables that compare many plans of one step."""

from __future__ import annotations

from typing import Any

from minidl.compiler.modes import MODES, switches
from minidl.console import show
from minidl.ir import format_size
from minidl.recipe import Plan

RECOMPUTE = 0.01
"""Share of the work that the last row may spend where the user named none."""


def print_card(plan: Plan, named: bool) -> None:
    """Which batch the card takes if the user named it; else that nobody did."""
    card, batch = plan.options.card, plan.batch
    if card is None:
        return
    if not named:
        show(f"{card.name} is the default card, no device was touched: --gpu names another")
        return
    fits = "fits" if plan.arena_bytes <= card.free else "does not fit"
    show(f"batch {batch} {fits} on {card.name}, {plan.largest_batch()} is the largest that does")


def print_largest_batches(plan: Plan, memory: int) -> None:
    """The largest batch that fits into `memory` bytes, in every mode and with recomputation."""
    share = plan.options.recompute or RECOMPUTE
    rows: list[tuple[str, dict[str, Any]]] = [(mode, {"memory": mode}) for mode in MODES]
    rows.append((f"arena, {100 * share:g} % more work", {"memory": "arena", "recompute": share}))
    show(f"largest batch in {format_size(memory)}:")
    show(f"  {'mode':<24} {'batch':>7} {'of caffe':>9}  arena")
    found: dict[str, int] = {}
    for name, how in rows:
        found[name] = _largest(plan, memory, how)
        times = f"{found[name] / found['caffe']:.2f} x" if found.get("caffe") else ""
        need = format_size(_needs(plan, found[name] or 1, how))
        batch = found[name] or "none"
        show(f"  {name:<24} {batch:>7} {times:>9}  {need if found[name] else f'batch 1: {need}'}")


def _largest(plan: Plan, memory: int, how: dict[str, Any]) -> int:
    changes = {"recompute": None, "budget": None, **how}
    return plan.recipe.at(**changes).plan().largest_batch(memory)


def _needs(plan: Plan, batch: int, how: dict[str, Any]) -> int:
    changes = {"recompute": None, "budget": None, **how}
    return plan.recipe.at(batch, **changes).plan().arena_bytes


def print_ablation(plan: Plan) -> None:
    """`arena` with each pass left out in turn: what the pass buys where all others are on."""
    batch = plan.batch
    base = _needs(plan, batch, {"memory": "arena", "disable_passes": ()})
    show(f"arena without one pass (all: {format_size(base)}):")
    for name in switches():
        size = _needs(plan, batch, {"memory": "arena", "disable_passes": (name,)})
        show(f"  {name:<20} {format_size(size):>12}  {(size - base) / 2**20:+10,.1f} MiB")
    size = _needs(plan, batch, {"memory": "arena", "disable_passes": tuple(switches())})
    show(f"  {'all of them':<20} {format_size(size):>12}  {(size - base) / 2**20:+10,.1f} MiB")
