"""How costs grow with the work: CPU time at several sizes, and the exponent of the growth.

    python -m benchmarks.growth [COST ...] [--scale 1] [--out FILE]
    python -m benchmarks.growth "plan, arena" "plan, branching" "plan, random" --scale 21

The second plans up to 10,000 layers of each kind.

An exponent of 1 is time in proportion to the size, 2 is four times the time for twice the size: the
slope of a line through the logarithms, each size measured best of three. `tests/test_growth.py`
counts calls of the same pieces of work instead of their time.
"""

from __future__ import annotations

import argparse
import json
import pickle
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import minidl as dl
from benchmarks.planning import synthetic
from minidl.data import ImageFolder
from minidl.ir import Array
from minidl.placed.file import placed_to_dict
from minidl.placed.verify.file import check_file
from minidl.recipe import Plan
from minidl.report.explain import explain_text
from minidl.report.others import Others
from minidl.report.page import plan_page
from minidl.report.snapshot import snapshot
from minidl.report.summary import summarize
from minidl.train import Trainer

BATCH, IMAGE, CLASSES = 2, (8, 8, 3), 10
TIMES, LONG = 3, 3.0
"""The least of so many is the figure, of fewer where they take so many seconds."""

Work = Callable[[], object]
"""What is measured."""
Prepared = Callable[[int, Path], Work]


@dataclass(frozen=True)
class Cost:
    """Work of any size."""

    unit: str
    sizes: tuple[int, ...]
    prepared: Prepared
    """The work of a size, which may write to a folder; making it is not measured."""


def chain(layers: int) -> dl.Network:
    """Convolution, BatchNorm and ReLU, again and again."""
    y = x = dl.Input(IMAGE)
    kinds = (lambda: dl.Conv2d(4, 3, padding=1), dl.BatchNorm2d, dl.ReLU)
    for k in range(layers):
        y = kinds[k % 3]()(y, name=f"layer{k}")
    return dl.Network(x, dl.Linear(CLASSES)(dl.Flatten()(y)))


def branching(layers: int) -> dl.Network:
    """Two branches and their sum, again and again: four layers each."""
    x = dl.Input(IMAGE)
    y = dl.Conv2d(4, 3, padding=1)(x)
    for _ in range(layers // 4):
        y = dl.Add()(dl.ReLU()(dl.Conv2d(4, 3, padding=1)(y)), dl.Conv2d(4, 1)(y))
    return dl.Network(x, dl.Linear(CLASSES)(dl.Flatten()(y)))


def nested(depth: int) -> dl.Sequential:
    """ReLUs, each of which lies one Sequential deeper than the one before it."""
    inner = dl.Sequential(dl.ReLU())
    for _ in range(depth):
        inner = dl.Sequential(dl.ReLU(), inner)
    return dl.Sequential(dl.Input(CLASSES), inner)


def random_dag(layers: int) -> dl.Network:
    """Branches, skips, sums and concatenations at random; a block has four to five layers."""
    return synthetic(max(1, layers * 2 // 9))


NETWORKS = {"chain": chain, "branching": branching, "random": random_dag}


@cache
def planned(network: str, layers: int, memory: str = "liveness") -> Plan:
    """A mode whose plans reuse bytes and take little time to make."""
    return dl.plan(NETWORKS[network](layers), BATCH, memory=memory)


def planning(network: str, memory: str) -> Prepared:
    return lambda size, folder: lambda: planned.__wrapped__(network, size, memory)


def of_plan(network: str, work: Callable[[Plan], object]) -> Prepared:
    def prepared(size: int, folder: Path) -> Work:
        plan = planned(network, size)
        return lambda: work(plan)

    return prepared


def _plan_text(plan: Plan) -> str:
    return json.dumps(placed_to_dict(plan), indent=1)


def checking(size: int, folder: Path) -> Work:
    text = _plan_text(planned("chain", size))
    return lambda: check_file(json.loads(text))


def printing(size: int, folder: Path) -> Work:
    net = chain(size)
    return lambda: repr(net)


def copying(depth: int, folder: Path) -> Work:
    net = nested(depth)
    return lambda: pickle.loads(pickle.dumps(net))


def listing(files: int, folder: Path) -> Work:
    """A hundred classes."""
    top = folder / f"{files} files"
    for k in range(files):
        path = top / f"class{k % 100:02}" / f"image{k:07}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return lambda: ImageFolder(top)


class _OneBatch:
    """An epoch of one step: what else an epoch costs stands out."""

    def __init__(self) -> None:
        self.batch = np.zeros((BATCH, *IMAGE), np.float32), np.zeros(BATCH, np.int32)

    def __len__(self) -> int:
        return 1

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, ...]]:
        yield from [self.batch][start:]


def run(epochs: int, folder: Path) -> Work:
    """A whole run with all that it writes: an epoch that costs more the later makes it grow faster
    than its epochs."""
    net = dl.Sequential(dl.Input(IMAGE), dl.Flatten(), dl.Linear(CLASSES))

    def work() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as runs:
            trainer = Trainer(dl.compile(net, BATCH), output_dir=runs, print_freq=1, quiet=True)
            trainer.fit(_OneBatch(), _OneBatch(), epochs)

    return work


PLANNED = (60, 120, 240, 480)
LAYERS = (125, 250, 500, 1000)
COSTS = {
    "plan, naive": Cost("layers", PLANNED, planning("chain", "naive")),
    "plan, liveness": Cost("layers", PLANNED, planning("chain", "liveness")),
    "plan, arena": Cost("layers", PLANNED, planning("chain", "arena")),
    "plan, branching": Cost("layers", PLANNED, planning("branching", "arena")),
    "plan, random": Cost("layers", PLANNED, planning("random", "arena")),
    "explain": Cost("layers", LAYERS, of_plan("chain", lambda p: explain_text(p, Others()))),
    "explain, branching": Cost(
        "layers", LAYERS, of_plan("branching", lambda p: explain_text(p, Others()))
    ),
    "html": Cost("layers", LAYERS, of_plan("chain", lambda p: plan_page(p, Others()))),
    "summary": Cost("layers", LAYERS, of_plan("chain", lambda p: str(summarize(p)))),
    "snapshot": Cost("layers", LAYERS, of_plan("chain", snapshot)),
    "plan file": Cost("layers", LAYERS, of_plan("chain", _plan_text)),
    "check": Cost("layers", LAYERS, checking),
    "print": Cost("layers", LAYERS, printing),
    "copy, nested": Cost("deep", (500, 1000, 2000, 4000), copying),
    "listing": Cost("files", (12_500, 25_000, 50_000, 100_000), listing),
    "run": Cost("epochs", (60, 120, 240, 480), run),
}


def measured(cost: Cost, scale: float) -> dict[str, Any]:
    """CPU seconds by size, the exponent, and the most bytes that the process had so far."""
    sizes = [max(1, round(size * scale)) for size in cost.sizes]
    with tempfile.TemporaryDirectory() as folder:
        seconds = [_least(cost.prepared(size, Path(folder))) for size in sizes]
    exponent = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    rounded = [round(s, 4) for s in seconds]
    return {
        "unit": cost.unit,
        "sizes": sizes,
        "cpu_seconds": rounded,
        "exponent": round(exponent, 2),
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _least(work: Work) -> float:
    found: list[float] = []
    while len(found) < TIMES and sum(found) < LONG:
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("costs", nargs="*", metavar="COST", help=f"of {', '.join(COSTS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    if unknown := [name for name in options.costs if name not in COSTS]:
        parser.error(f"no cost {unknown[0]!r}; choose from {', '.join(COSTS)}")
    found = {}
    for name in options.costs or COSTS:
        found[name] = figures = measured(COSTS[name], options.scale)
        pairs = zip(figures["sizes"], figures["cpu_seconds"], strict=True)
        row = "  ".join(f"{size:,}: {seconds:.3f} s" for size, seconds in pairs)
        peak = f"{figures['process_peak_bytes'] >> 20:,} MiB"
        slope = f"n^{figures['exponent']:.2f}"
        print(f"{name:<20} {slope}  {figures['unit']} {row}  peak {peak}", flush=True)
    if options.out:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        options.out.write_text(json.dumps({"on": machine, "costs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
