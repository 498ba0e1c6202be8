"""The launches of three networks' steps as numbers: `python -m benchmarks.launches FILE`.

A CSV, a line for each kind of launch of a step on a card, with how many there are of it: what the
model of time takes (minidl/roofline/work.py), the op's kernel, its layer where docs/review.py asks
for one, and what the op needs at least. No GPU is needed. Kept of a day on which a review of the
kernels was written, the file says what the model says of the kernels of that day.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minidl as dl
from minidl import models
from minidl.files.atomic import write_text
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.work import works_of
from minidl.roofline import Epilogue, Reread, Stages, Work, read_counts

BATCHES = {"resnet50": 64, "vgg16": 64, "alexnet": 128}
STEPS = (
    *((model, card) for card in ("h100", "h200", "a100-80gb", "rtx4090") for model in BATCHES),
    ("resnet50", "rtx3060"),
)
LAYERS = ("conv1", "features.2")
"""Layers that are told apart."""


@dataclass(frozen=True)
class Launched:
    """Launches of one kind in a step."""

    kernel: str
    """The op's, without templates."""
    layer: str
    work: Work
    flops: int
    """Of the op; 0 for all but its first launch."""
    least: int
    """Bytes that the op moves at least; likewise."""


def planned(model: str, card: str) -> dl.Plan:
    """A step in bf16 with SGD, momentum and weight decay."""
    optimizer = dl.SGD(lr=0.1, momentum=0.9, weight_decay=1e-4)
    how: dict[str, Any] = {"precision": "bf16", "gpu": card, "optimizer": optimizer}
    return dl.plan(models.MODELS[model](), BATCHES[model], **how)


def launched(plan: dl.Plan) -> Counter[Launched]:
    """The launches of a plan's step, and how many there are of each."""
    card, counts = plan.options.card, read_counts()
    assert card is not None
    found: Counter[Launched] = Counter()
    for op in plan.graph.ops:
        layer = op.layer if op.layer in LAYERS else ""
        works = works_of(op, launches_of(op), card, counts)
        for place, work in enumerate(works):
            own = (op.flops, op.bytes_moved) if place == 0 else (0, 0)
            found[Launched(op.kernel, layer, work, *own)] += 1
    return found


# -- the file --------------------------------------------------------------------------------------

HEAD = (
    *("model", "card", "count", "kernel", "layer", "flops", "least bytes"),
    *("blocks", "threads", "moved", "access", "shared", "registers"),
    *("unit", "stages", "operations", "instructions", "wavefronts", "copied"),
    *("epilogue instructions", "epilogue wavefronts", "rounds"),
    *("reread bytes", "parts", "tiles", "passes", "kept bytes"),
)


def line(model: str, card: str, count: int, what: Launched) -> tuple[object, ...]:
    """The fields of one kind of launch."""
    work = what.work
    own = work.blocks, work.threads, f"{work.moved:.0f}", work.access, work.shared, work.registers
    staged: Iterable[object] = ("",) * 14
    if work.stages is not None and work.epilogue is not None and work.reread is not None:
        s, e, r = work.stages, work.epilogue, work.reread
        numbers = f"{s.instructions:.1f}", f"{s.wavefronts:.1f}", s.copied
        staged = (s.unit, s.count, s.operations, *numbers, f"{e.instructions:.1f}")
        staged = (*staged, f"{e.wavefronts:.0f}", e.rounds)
        staged = (*staged, r.nbytes, r.parts, r.tiles, r.passes, r.kept)
    front = model, card, count, what.kernel, what.layer, what.flops, what.least
    return *front, *own, *staged


def read(path: Path) -> Iterator[tuple[str, str, int, Launched]]:
    """Model, card, how many, and what."""
    for cells in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))):
        sizes = int(cells["flops"]), int(cells["least bytes"])
        what = Launched(cells["kernel"], cells["layer"], _work(cells), *sizes)
        yield cells["model"], cells["card"], int(cells["count"]), what


def _work(cells: Mapping[str, str]) -> Work:
    def ints(*names: str) -> Iterator[int]:
        return (int(cells[name]) for name in names)

    blocks, threads, moved, access, shared, registers = ints(*HEAD[7:13])
    own = blocks, threads, float(moved), access, shared, registers
    if not cells["unit"]:
        return Work(*own)
    counted = float(cells["instructions"]), float(cells["wavefronts"])
    count, operations, copied = ints("stages", "operations", "copied")
    given = float(cells["epilogue instructions"]), float(cells["epilogue wavefronts"])
    return Work(
        *own,
        Stages(cells["unit"], count, operations, *counted, copied),
        Epilogue(*given, *ints("rounds")),
        Reread(*ints("reread bytes", "parts", "tiles", "passes", "kept bytes")),
    )


def main(path: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for model, card in STEPS:
        found = launched(planned(model, card))
        writer.writerows(line(model, card, count, what) for what, count in found.items())
        print(f"{model} {card}: {found.total()} launches, {len(found)} kinds", flush=True)
    write_text(path, text.getvalue())


if __name__ == "__main__":
    main(*sys.argv[1:])
