"""The time of a step as predicted: op by op, what bounds each, and how far from the roofline.

Nothing is measured and no device is touched: `minidl.roofline` says how long each launch takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minidl.ir import ArgumentError, Op
from minidl.ir.card import Card
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.work import estimated, works_of
from minidl.placed.graph import PlacedGraph
from minidl.roofline import BOUNDS, CONSTANTS, Constants, Counts, read_counts, time_of

LONGEST = 10
"""Ops that are shown."""


@dataclass(frozen=True, slots=True)
class OpTime:
    """One op of a step, as predicted."""

    index: int
    """Its position in the schedule."""
    name: str
    seconds: float
    """Of all its launches, one after the other."""
    bound: str
    """What bounds its longest launch: tensor cores, float32 units, issue, shared memory, L2, DRAM,
    latency or launch."""
    roofline: float
    """Seconds that any kernel needs: for the operations at the card's peak, or for moving every
    operand once at its bandwidth, whichever is longer."""
    launches: int
    estimated: bool
    """Whether instructions of its main loop are estimated, not counted in machine code."""


@dataclass(frozen=True, repr=False)
class StepTime:
    """A step on a card, as predicted; seconds. Printed it is a table of the longest ops."""

    card: Card
    ops: tuple[OpTime, ...]
    """In schedule order."""

    @property
    def seconds(self) -> float:
        """Of one step: its launches one after the other, the batch already on the card."""
        return sum(op.seconds for op in self.ops)

    @property
    def roofline(self) -> float:
        """Sum of the ops' own."""
        return sum(op.roofline for op in self.ops)

    @property
    def launches(self) -> int:
        return sum(op.launches for op in self.ops)

    def bounds(self) -> dict[str, float]:
        """Seconds of the ops that each resource bounds, the most first."""
        found = {name: sum(op.seconds for op in self.ops if op.bound == name) for name in BOUNDS}
        most = sorted(found, key=lambda name: -found[name])
        return {name: found[name] for name in most if found[name]}

    def longest(self, count: int = LONGEST) -> list[OpTime]:
        """The ops that take longest, the longest first."""
        return sorted(self.ops, key=lambda op: (-op.seconds, op.index))[:count]

    def table(self, count: int = LONGEST) -> str:
        """The step, what bounds it, and its longest ops."""
        times = self.seconds / self.roofline if self.roofline else 1.0
        lines = [
            f"time, predicted and not measured: {ms(self.seconds)} a step on {self.card.name}, "
            f"{times:.2f} x its roofline of {ms(self.roofline)}; {self.launches} launches",
            "bound by: " + ", ".join(f"{name} {ms(s)}" for name, s in self.bounds().items()),
            f"  {'ms':>9} {'roofline':>9} {'x':>6}  {'bound by':<15} op",
        ]
        lines += [_line(op) for op in self.longest(count)]
        lines += self._notes()
        return "\n".join(lines)

    __str__ = table
    __repr__ = table

    def _notes(self) -> Iterator[str]:
        guessed = sum(op.estimated for op in self.ops)
        if guessed:
            yield (
                f"instructions of {guessed} ops are estimated from the nearest main loop that was "
                "counted in machine code"
            )
        fields = [name for name in self.card.assumed if name in TIMED]
        if fields:
            yield f"assumed of this card: {', '.join(fields)}; see docs/roofline.md"

    def to_dict(self) -> dict[str, Any]:
        """As the plan file has it."""
        return {
            "card": self.card.name,
            "predicted_seconds": self.seconds,
            "roofline_seconds": self.roofline,
            "launches": self.launches,
            "bounds": self.bounds(),
            "ops": [
                {
                    "index": op.index,
                    "predicted_seconds": op.seconds,
                    "roofline_seconds": op.roofline,
                    "bound": op.bound,
                    "launches": op.launches,
                    "estimated": op.estimated,
                }
                for op in self.ops
            ],
        }


TIMED = ("clock", "peaks", "bandwidth", "l2", "l2_bandwidth", "launch")
"""Fields of a card that the time depends on."""


def ms(seconds: float) -> str:
    """Three figures, or a whole number of milliseconds and tenths."""
    return f"{1e3 * seconds:.1f} ms" if seconds >= 0.01 else f"{1e3 * seconds:.3g} ms"


def _line(op: OpTime) -> str:
    times = f"{op.seconds / op.roofline:.1f}" if op.roofline else "-"
    own, least = 1e3 * op.seconds, 1e3 * op.roofline
    return f"  {own:>9.3f} {least:>9.3f} {times:>6}  {op.bound:<15} {op.name}"


def time_step(
    plan: PlacedGraph, counts: Counts | None = None, constants: Constants = CONSTANTS
) -> StepTime:
    """The time of a plan's step on its card; ArgumentError where it is for the cpu."""
    card, counts = card_of_times(plan), counts or read_counts()
    rows = (time_op(i, op, card, counts, constants) for i, op in enumerate(plan.graph.ops))
    return StepTime(card, tuple(rows))


def card_of_times(plan: PlacedGraph) -> Card:
    """The card that a plan's times are of; ArgumentError where it is for the cpu."""
    card = plan.options.card
    if card is None:
        raise ArgumentError(
            "times are predicted for GPUs, and this plan is for the cpu",
            "name a card: gpu='rtx3060', on the command line --gpu rtx3060",
        )
    return card


def time_op(
    index: int, op: Op, card: Card, counts: Counts, constants: Constants = CONSTANTS
) -> OpTime:
    """The time of one op on a card."""
    launches = launches_of(op)
    times = [time_of(work, card, constants) for work in works_of(op, launches, card, counts)]
    longest = max(times, key=lambda time: time.seconds)
    units = [launch.loop.main.shape.unit for launch in launches if launch.loop is not None]
    peak = card.peaks.of(units[0] if units else "simt")
    return OpTime(
        index,
        op.name,
        sum(time.seconds for time in times),
        longest.bound,
        max(op.flops / peak, op.bytes_moved / card.bandwidth),
        len(launches),
        any(estimated(launch, card, counts) for launch in launches),
    )
