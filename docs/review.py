"""The review of the kernels beside the model: every figure that it has of the kernels of its day.

The review estimated three networks launch by launch from instructions, bank conflicts and bytes
that were counted by hand; its times are estimates too, +-30 % as it says. Nothing was measured.
What it counted, and the launches of that day, are kept in benchmarks/results/roofline: the kernels
of today may be others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import minidl as dl
from benchmarks.launches import BATCHES, Launched, planned, read
from docs.rows import Rows, table
from minidl.cards import BY_NAME, CARDS
from minidl.ir.card import Card
from minidl.report.times import TIMED
from minidl.roofline import (
    CONSTANTS,
    Count,
    Epilogue,
    MainLoop,
    Operand,
    Shape,
    Stages,
    Work,
    read_counts,
    stage_clocks,
    time_of,
)
from minidl.roofline.model import ISSUE, L2, SHARED, TENSOR

KEPT = Path(__file__).parent.parent / "benchmarks/results/roofline"
COUNTS = read_counts(KEPT / "counts.csv")

# -- main loops ------------------------------------------------------------------------------------

PATCHES = Operand("Patches<bf16, 8, true, false>", 2)
WEIGHTS = Operand("Matrix<float, 4, true>", 4)
FILTERS = Operand("Filters<4>", 4)
DY = Operand("Matrix<bf16, 8, false>", 2)
X = Operand("Patches<bf16, 8, false, false>", 2)
STAGED = Operand("Staged<bf16, 8, true>", 2)
SINGLE = Operand("Matrix<float, 1, true>", 4)
FLOATS = Operand("Patches<float, 4, true, false>", 4)
LARGE = Shape("bf16", 128, 128, 32, (64, 32))
WIDE = Shape("bf16", 128, 64, 32, (32, 32))
TALL = Shape("bf16", 64, 128, 32, (32, 32))
LOOPS = {
    "forward 128x128": MainLoop(LARGE, PATCHES, WEIGHTS),
    "forward 128x64": MainLoop(WIDE, PATCHES, WEIGHTS),
    "dgrad 128x128": MainLoop(LARGE, PATCHES, FILTERS),
    "dgrad 128x64": MainLoop(WIDE, PATCHES, FILTERS),
    "wgrad 128x128": MainLoop(LARGE, DY, X),
    "wgrad 64x128": MainLoop(TALL, DY, X),
    "first layer forward 128x64": MainLoop(WIDE, STAGED, SINGLE),
    "TF32 forward 128x128": MainLoop(Shape("tf32", 128, 128, 16, (64, 32)), FLOATS, WEIGHTS),
    "float32 forward 128x128": MainLoop(Shape("simt", 128, 128, 16, (8, 8)), FLOATS, WEIGHTS),
}

CLOCKS: dict[str, tuple[float | None, ...]] = {
    "forward 128x128": (413, 582, 992, 614),
    "forward 128x64": (206, 450, 800, None),
    "dgrad 128x128": (413, 766, 992, 614),
    "dgrad 128x64": (206, 586, 800, None),
    "wgrad 128x128": (413, 444, 512, 410),
    "wgrad 64x128": (206, 388, 352, None),
    "first layer forward 128x64": (206, 838, 800, None),
    "TF32 forward 128x128": (413, 672, 512, None),
}
"""Of the review: clocks a stage of tensor cores, issue, shared memory, L2 on an H100."""


def stages_of(loop: MainLoop, architecture: str, count: int) -> tuple[Stages, Count]:
    counted = COUNTS.of(loop, architecture)
    how = loop.operations, counted.instructions, counted.wavefronts, loop.copied
    return Stages(loop.shape.unit, count, *how), counted


def clocks(name: str, card: str = "h100") -> dict[str, float]:
    """The model's clocks a stage of one block."""
    loop, on = LOOPS[name], BY_NAME[card]
    stages, _ = stages_of(loop, on.architecture, 1)
    return stage_clocks(stages, loop.shape.threads // 32, on)


def clocks_table() -> str:
    """Each clock of the review and of the model."""
    head = ("main loop, H100", "tensor cores", "issue", "shared memory", "L2")
    return table(head, (_clocks_row(name) for name in CLOCKS))


def _clocks_row(name: str) -> Iterator[str]:
    found = clocks(name)
    yield name
    for resource, told in zip((TENSOR, ISSUE, SHARED, L2), CLOCKS[name], strict=True):
        yield f"{'-' if told is None else f'{told:,.0f}'} / {found[resource]:,.0f}"


# -- shares of the peak ----------------------------------------------------------------------------

PIECE = 12
"""Instructions that the kernels of that day had for a piece of two results, as was assumed."""
LONG = 1000
"""Stages of a sum that is long."""


@dataclass(frozen=True)
class Share:
    """A share of the tensor cores' peak that the review predicted, or a span of it, in percent."""

    loop: str
    card: str
    least: float
    most: float
    stages: int = LONG
    waits: bool = False
    shared: int = 82_944

    @property
    def what(self) -> str:
        return f"{self.loop}, {'long sum' if self.stages == LONG else '64 channels, 3x3'}"

    def predicted(self) -> float:
        """The model's, in percent: of full rounds of blocks."""
        loop, card = LOOPS[self.loop], BY_NAME[self.card]
        stages, counted = stages_of(loop, card.architecture, self.stages)
        pieces = loop.shape.m * loop.shape.n // loop.shape.threads // 2
        blocks = 64 * card.multiprocessors
        work = Work(
            blocks,
            loop.shape.threads,
            0.0,
            shared=self.shared,
            registers=counted.registers,
            stages=stages,
            epilogue=Epilogue(PIECE * pieces, 0.0, pieces if self.waits else 0),
        )
        seconds = time_of(work, card).seconds - card.launch
        return (
            100 * blocks * stages.count * stages.operations / card.peaks.of(stages.unit) / seconds
        )

    def error(self) -> float:
        """Of the model's, as a share of the review's nearest."""
        found = self.predicted()
        return found / min(max(found, self.least), self.most) - 1


def _shares() -> Iterator[Share]:
    wgrad: dict[str, Any] = {"shared": 52_224}
    slim: dict[str, Any] = {"shared": 77_824}
    passes: tuple[tuple[str, dict[str, Any]], ...] = (
        ("forward 128x128", {}),
        ("dgrad 128x128", {}),
        ("wgrad 128x128", wgrad),
    )
    long: dict[str, tuple[tuple[float, float], ...]] = {
        "h100": ((20, 20), (14, 17), (28, 28)),
        "a100": ((40, 40), (35, 35), (67, 67)),
        "rtx4090": ((81, 81), (74, 74), (78, 78)),
        "rtx3060": ((85, 85), (79, 79), (90, 90)),
    }
    for card, spans in long.items():
        for (loop, how), span in zip(passes, spans, strict=True):
            yield Share(loop, card, *span, **how)
    for card, told in (("h100", (12, 8, 20)), ("rtx3060", (69, 53, 64))):
        yield Share("forward 128x64", card, told[0], told[0], 18, **slim)
        yield Share("dgrad 128x64", card, told[1], told[1], 18, waits=True, **slim)
        yield Share("wgrad 64x128", card, told[2], told[2], 200, shared=53_248)
    for card, share in (("h100", 28), ("rtx4090", 90)):
        yield Share("TF32 forward 128x128", card, share, share, shared=81_920)
    for card, least, most in (("h100", 57, 68), ("a100", 80, 93)):
        yield Share("float32 forward 128x128", card, least, most, shared=33_792)


SHARES = tuple(_shares())


def shares_table() -> str:
    head = ("part of the peak, %", "card", "review", "model", "error")
    return table(head, map(_share_row, SHARES))


def _share_row(share: Share) -> list[str]:
    told = f"{share.least:g}" if share.least == share.most else f"{share.least:g}-{share.most:g}"
    return [share.what, share.card, told, f"{share.predicted():.1f}", _percent(share.error())]


# -- steps -----------------------------------------------------------------------------------------

STEPS: dict[tuple[str, str], float] = {
    ("resnet50", "h100"): 25.1,
    ("vgg16", "h100"): 41.7,
    ("alexnet", "h100"): 4.6,
    ("resnet50", "h200"): 21.5,
    ("vgg16", "h200"): 41.3,
    ("alexnet", "h200"): 4.4,
    ("resnet50", "a100-80gb"): 40.5,
    ("vgg16", "a100-80gb"): 61.3,
    ("alexnet", "a100-80gb"): 7.2,
    ("resnet50", "rtx4090"): 58.6,
    ("vgg16", "rtx4090"): 58.0,
    ("alexnet", "rtx4090"): 6.9,
    ("resnet50", "rtx3060"): 205.0,
}
"""Of the review: milliseconds of a step in bf16, by network and card."""


@dataclass(frozen=True)
class Step:
    """A step of that day on a card: its launches, and how many there are of each."""

    card: Card
    launches: tuple[tuple[int, Launched], ...]

    def milliseconds(self, pattern: str = "", gaps: bool = True) -> float:
        """The model's, of launches whose layer and kernel a pattern finds; without the gaps between
        launches if not `gaps`."""
        gap = 0 if gaps else self.card.launch
        return 1e3 * sum(
            count * (time_of(what.work, self.card).seconds - gap)
            for count, what in self.launches
            if re.search(pattern, f"{what.layer}.{what.kernel}")
        )

    @property
    def count(self) -> int:
        return sum(count for count, _ in self.launches)

    @property
    def roofline(self) -> float:
        """Milliseconds."""
        return 1e3 * sum(count * self._least(what) for count, what in self.launches)

    def _least(self, what: Launched) -> float:
        unit = what.work.stages.unit if what.work.stages else "simt"
        return max(what.flops / self.card.peaks.of(unit), what.least / self.card.bandwidth)


@cache
def steps() -> dict[tuple[str, str], Step]:
    """Of that day, by network and card."""
    found: dict[tuple[str, str], list[tuple[int, Launched]]] = {}
    for model, card, count, what in read(KEPT / "launches.csv"):
        found.setdefault((model, card), []).append((count, what))
    return {key: Step(BY_NAME[key[1]], tuple(rows)) for key, rows in found.items()}


IDEAL: dict[tuple[str, str], float] = {
    ("resnet50", "h100"): 9.4,
    ("vgg16", "h100"): 10.4,
    ("alexnet", "h100"): 1.4,
    ("resnet50", "h200"): 7.2,
    ("vgg16", "h200"): 9.9,
    ("alexnet", "h200"): 1.2,
    ("resnet50", "a100-80gb"): 17.4,
    ("vgg16", "a100-80gb"): 28.2,
    ("alexnet", "a100-80gb"): 3.3,
    ("resnet50", "rtx4090"): 32.7,
    ("vgg16", "rtx4090"): 53.0,
    ("alexnet", "rtx4090"): 6.2,
    ("resnet50", "rtx3060"): 130.0,
}
"""Of the review: the same with every fusion and kernels as good as the best libraries'."""


def _compared(told: float, found: float, digits: int) -> list[str]:
    """The review's, the model's, and how much that is more."""
    return [f"{told:g}", f"{found:.{digits}f}", _percent(found / told - 1)]


def _percent(share: float) -> str:
    return f"{round(100 * share) or 0:+d} %"


def steps_table() -> str:
    head = (
        "ms a step, bf16", "card", "review", "model", "error", "review's ideal", "roofline",
        "launches",
    )  # fmt: skip
    return table(head, (_step_row(*key) for key in STEPS))


def _step_row(model: str, card: str) -> list[str]:
    found = steps()[model, card]
    sizes = _compared(STEPS[model, card], found.milliseconds(), 1)
    more = f"{IDEAL[model, card]:g}", f"{found.roofline:.1f}", f"{found.count:,}"
    return [f"{model} b{BATCHES[model]}", card, *sizes, *more]


# -- parts of steps --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Launches of a step on the H100, without the gaps between them."""

    what: str
    pattern: str
    """Of layer and kernel."""
    told: float
    """Milliseconds."""

    def predicted(self, model: str) -> float:
        return steps()[model, "h100"].milliseconds(self.pattern, gaps=False)


PARTS: dict[str, tuple[Part, ...]] = {
    "resnet50": (
        Part("convolutions, dgrad", "conv2d_dgrad", 5.5),
        Part("convolutions, forward", "conv2d_forward", 4.3),
        Part("convolutions, wgrad", "conv2d_wgrad", 2.6),
        Part("batch norm, dgrad", "batchnorm2d_dgrad", 2.3),
        Part("batch norm, normalise", "batchnorm2d_normalize", 2.3),
        Part("batch norm, sums of wgrad", "batchnorm2d_wgrad", 1.8),
        Part("batch norm, statistics", "batchnorm2d_statistics", 0.9),
        Part("add", "add_forward", 1.4),
        Part("relu behind add", r"\.relu_forward", 0.9),
        Part("gradient_sum", "gradient_sum", 0.8),
        Part("keep_positive", "keep_positive", 0.5),
        Part("conv1, forward", r"^conv1\.conv2d_forward", 0.34),
        Part("conv1, wgrad", r"^conv1\.conv2d_wgrad", 0.21),
    ),
    "vgg16": (
        Part("convolutions, dgrad", "conv2d_dgrad", 16.1),
        Part("convolutions, forward", "conv2d_forward", 12.1),
        Part("convolutions, wgrad", "conv2d_wgrad", 11.0),
        Part("features.2, dgrad", r"^features\.2\..*conv2d_dgrad", 3.6),
    ),
}
GAPS = 1.2
"""Of the review: milliseconds between the 969 launches of ResNet-50's step on the H100."""


def gaps() -> float:
    """The model's."""
    step = steps()["resnet50", "h100"]
    return 1e3 * step.count * step.card.launch


def parts_table() -> str:
    rows = [
        [f"{model}: {part.what}", *_compared(part.told, part.predicted(model), 2)]
        for model, parts in PARTS.items()
        for part in parts
    ]
    rows.append(["resnet50: gaps between launches", *_compared(GAPS, gaps(), 2)])
    return table(("H100, ms", "review", "model", "error"), rows)


def _compared(told: float, found: float, digits: int) -> list[str]:
    """The review's, the model's, and how much that is more."""
    return [f"{told:g}", f"{found:.{digits}f}", _percent(found / told - 1)]


def _percent(share: float) -> str:
    return f"{round(100 * share) or 0:+d} %"


# -- the kernels of today --------------------------------------------------------------------------

AFTERWARDS: dict[tuple[str, str], float] = {
    ("resnet50", "h100"): 14.0,
    ("vgg16", "h100"): 27.5,
    ("alexnet", "h100"): 2.9,
    ("resnet50", "a100-80gb"): 22.8,
    ("vgg16", "a100-80gb"): 41.8,
    ("resnet50", "rtx4090"): 35.3,
    ("vgg16", "rtx4090"): 51.6,
    ("resnet50", "rtx3060"): 130.0,
}
"""Of the review: with its step A and its fusions."""


@cache
def plan_of(model: str, card: str) -> dl.Plan:
    return planned(model, card)


def _today(model: str, card: str) -> list[str]:
    found, before = plan_of(model, card).time(), steps()[model, card].milliseconds()
    own = f"{before:.1f}", f"{1e3 * found.seconds:.1f}", f"{AFTERWARDS[model, card]:g}"
    bound, seconds = next(iter(found.bounds().items()))
    most = f"{bound}, {100 * seconds / found.seconds:.0f} %"
    return [f"{model} b{BATCHES[model]}", card, *own, f"{found.launches:,}", most]


TODAY = Rows(
    (
        "ms a step, bf16", "card", "model, that day", "model, today", "review, after step A",
        "launches", "bound by most",
    ),
    tuple(partial(_today, *key) for key in AFTERWARDS),
)  # fmt: skip

# -- the model's own tables ------------------------------------------------------------------------


def constants_table() -> str:
    """Every constant that is neither a card's nor counted, with its source."""
    rows = ([f"`{name}`", f"{value:g}", *words] for name, value, *words in CONSTANTS.rows())
    return table(("constant", "value", "what it is", "source"), rows)


def card_rates() -> str:
    """What the model takes of each card beside what docs/cards.md says."""
    head = (
        "`--gpu`", "instructions a clock", "shared memory, bytes a clock", "mma.sync of the peak",
        "L2, TB/s", "launch in a graph, us", "assumed",
    )  # fmt: skip
    return table(head, map(_rates, CARDS))


def _rates(card: Card) -> list[str]:
    chip = card.limits
    rates = f"{chip.schedulers}", f"{chip.shared_bandwidth}", f"{chip.mma:.0%}"
    seconds = f"{card.l2_bandwidth / 1e12:.1f}", f"{1e6 * card.launch:g}"
    assumed = ", ".join(name for name in card.assumed if name in TIMED)
    return [f"`{card.name}`", *rates, *seconds, assumed]


def _tiles_row(model: str, card: str) -> list[str]:
    plan = plan_of(model, card)
    time, tiles = plan.time().seconds, plan.tiles()
    sizes = f"{1e3 * time:.1f}", f"{1e3 * (time - tiles.gained):.1f}", f"{len(tiles.rows)}"
    return [f"{model} b{BATCHES[model]}", card, *sizes]


TILES = Rows(
    ("ms a step, bf16", "card", "predicted", "with its own tiles", "problems with others"),
    tuple(partial(_tiles_row, *key) for key in AFTERWARDS),
)

TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("docs/roofline.md", "constants"): constants_table,
    ("docs/roofline.md", "cards"): card_rates,
    ("docs/roofline.md", "clocks"): clocks_table,
    ("docs/roofline.md", "shares"): shares_table,
    ("docs/roofline.md", "steps"): steps_table,
    ("docs/roofline.md", "parts"): parts_table,
    ("docs/roofline.md", "today"): TODAY,
    ("docs/roofline.md", "tiles"): TILES,
}
