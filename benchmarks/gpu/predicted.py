"""Predicted beside measured: what a row says of the model of time, and which constant is wrong.

A row keeps what the model said when it was measured, and the constant that bounds its longest
launch. What was measured of all ops that one constant bounds says what it should be, as if it alone
were wrong.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.gpu.rows import Row
from minidl.ir import Op
from minidl.ir.card import Card
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.work import works_of
from minidl.roofline import CONSTANTS, Constants, Work, read_counts, time_of
from minidl.roofline.model import DRAM, ISSUE, L2, LATENCY, LAUNCH, SHARED, TENSOR, UNITS

TABLE, CARDS, COUNTS = "minidl/roofline/constants.py", "minidl/cards.py", "instructions.csv"
HOLDS = 1.25
"""A constant holds that is wrong by no more than this factor, either way."""
LEAST = 3
"""Ops that one constant bounds, for it to be judged."""


def predicted(op: Op, card: Card) -> Row:
    """What the model says of an op on a card, for its row: milliseconds, what bounds the longest
    launch, and by which constant; `cached`: all that it moves fits into the L2, from where it then
    comes when the op runs again and again."""
    works = works_of(op, launches_of(op), card, read_counts())
    times = [time_of(work, card) for work in works]
    work, longest = max(zip(works, times, strict=True), key=lambda pair: pair[1].seconds)
    constant, value = constant_of(longest.bound, work, card)
    return {
        "predicted_ms": 1e3 * sum(time.seconds for time in times),
        "predicted_bound": longest.bound,
        "launch_ms": 1e3 * card.launch * len(works),
        "constant": constant,
        "constant_value": value,
        "cached": op.bytes_moved <= card.l2,
    }


def constant_of(
    bound: str, work: Work, card: Card, constants: Constants = CONSTANTS
) -> tuple[str, float]:
    """The constant that a bound comes from, with its file, and its value."""
    access = next((n for n in (16, 8, 4) if work.access >= n), 2)
    unit = work.stages.unit if work.stages is not None else ""
    of: dict[str, tuple[str, float]] = {
        TENSOR: (f"mma of {card.architecture}, {unit} in {CARDS}", card.limits.mma),
        UNITS: (f"peaks.simt in {CARDS}, TFLOP/s", card.peaks.simt / 1e12),
        ISSUE: (f"instructions a stage in {COUNTS}", 1.0),
        SHARED: (f"wavefronts a stage in {COUNTS}", 1.0),
        L2: (f"l2_port in {TABLE}", constants.l2_port),
        DRAM: (f"share_of_{access} in {TABLE}", constants.share(access)),
        LATENCY: (f"latency in {TABLE}, clocks", constants.latency),
        LAUNCH: (f"launch in {CARDS}, us", 1e6 * card.launch),
    }
    return of[bound]


RATES = (TENSOR, UNITS, L2, DRAM)
"""Bounds whose constant is a rate: more of it is less time."""


@dataclass(frozen=True)
class Verdict:
    """What the ops that one constant bounds say of it."""

    constant: str
    used: float
    says: float
    ops: int
    factor: float
    """Median of measured through predicted, without what launches take."""

    @property
    def words(self) -> str:
        if self.ops < LEAST:
            return "too few ops"
        if 1 / HOLDS <= self.factor <= HOLDS:
            return "holds"
        return f"wrong: ops take {self.factor:.2f} x as long as it says"


def verdicts(rows: Iterable[Row]) -> list[Verdict]:
    """A verdict for each constant that bounds an op of these rows, the worst first. Ops that the L2
    serves say nothing of the memory."""
    of: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        served = row.get("cached") and row.get("predicted_bound") == DRAM
        if "constant" in row and not served:
            of.setdefault((row["constant"], row["constant_value"]), []).append(row)
    found = [_verdict(*key, mine) for key, mine in of.items()]
    return sorted(found, key=lambda v: -max(v.factor, 1 / v.factor))


def _verdict(constant: str, used: float, rows: list[Row]) -> Verdict:
    factor = statistics.median(map(_factor, rows))
    rate = rows[0]["predicted_bound"] in RATES
    return Verdict(constant, used, used / factor if rate else used * factor, len(rows), factor)


SHORTEST = 1e-3
"""Of predicted time: what is measured faster than its launches counts as that much of it."""


def _factor(row: Row) -> float:
    """Measured through predicted; where not the launch itself is meant, without it."""
    gap = 0.0 if row["predicted_bound"] == LAUNCH else row["launch_ms"]
    model = row["predicted_ms"] - gap
    return float(max(row["ms"] - gap, SHORTEST * model) / model)
