"""Tiles and splits of a plan's matrix products as the model of time would choose them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from minidl.ir import Op
from minidl.ir.card import Card
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.product import Product
from minidl.ops.cuda.work import Choice, alternatives
from minidl.placed.graph import PlacedGraph
from minidl.report.times import StepTime, card_of_times, ms
from minidl.roofline import CONSTANTS, Constants, Counts, read_counts, time_of

LEAST_GAIN = 0.02
"""Of a problem's time: for less, a choice stays as it is."""


@dataclass(frozen=True)
class Tiles:
    """What the model would choose otherwise than the plan has it."""

    rows: Mapping[str, Choice]
    """By problem a tile's name and the splits of the sum, as `tuning=` takes them."""
    gained: float
    """Seconds of a step, predicted."""

    def to_json(self) -> str:
        """A tuning file."""
        return json.dumps(dict(self.rows), indent=1)


def model_tiles(
    plan: PlacedGraph, counts: Counts | None = None, constants: Constants = CONSTANTS
) -> Tiles:
    """For each problem of the plan what takes least time of all its ops together; ArgumentError
    where the plan is for the cpu."""
    card, counts = card_of_times(plan), counts or read_counts()
    times: dict[str, dict[Choice, float]] = {}
    own: dict[str, Choice] = {}
    for op in plan.graph.ops:
        product = planned_product(op)
        if product is None:
            continue
        key = product.problem.key
        own[key] = product.tile.name, product.splits
        _add(times.setdefault(key, {}), _times(op, card, counts, constants))
    rows, gained = {}, 0.0
    for key, of in times.items():
        if own[key] not in of:
            continue
        best = min(of, key=of.__getitem__)
        if of[best] < of[own[key]] * (1 - LEAST_GAIN):
            rows[key] = best
            gained += of[own[key]] - of[best]
    return Tiles(rows, gained)


def gain(time: StepTime, tiles: Tiles) -> str:
    """In a line, what the model's own choice would gain: plans keep the one that they had."""
    if not tiles.rows:
        return "tiles and splits are those that this model would choose"
    return (
        f"with other tiles and splits for {len(tiles.rows)} of its products, not chosen: "
        f"{ms(time.seconds - tiles.gained)} predicted; --tiles writes them, for --tuning"
    )


def planned_product(op: Op) -> Product | None:
    """The product that was chosen for an op when it was lowered."""
    products, phase = op.original.attributes.get("products"), op.original.phase
    if products is None:
        return None
    found: Product = getattr(products, "forward" if phase == "recompute" else phase)
    return found


def _times(op: Op, card: Card, counts: Counts, constants: Constants) -> dict[Choice, float]:
    """Seconds of an op with each tile and split."""
    return {
        choice: sum(time_of(work, card, constants).seconds for work in works)
        for choice, works in alternatives(op, launches_of(op), card, counts)
    }


def _add(total: dict[Choice, float], more: dict[Choice, float]) -> None:
    """What every op of a problem can be run with, and the time of all of them."""
    both = more.keys() & total.keys() if total else more.keys()
    sums = {choice: total.get(choice, 0.0) + more[choice] for choice in more if choice in both}
    total.clear()
    total |= sums
