"""Order peaks beside the bytes that every order needs: zoo, awkward networks, random DAGs.

    python -m benchmarks.ordering [--only WORD ...] [--out FILE]

No placement: a row is what the order alone decides. `--only vgg slices` keeps the rows whose name
has one of the words.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import minidl as dl
from benchmarks.planning import synthetic
from minidl.compiler.lifetimes import loads
from minidl.compiler.lower import lower_training
from minidl.compiler.order import Ordered, order_for_peak
from minidl.compiler.planner import scheduled
from minidl.devices.known import target_of
from minidl.ir import Op, StepGraph, Tensor
from minidl.options import Options

MIB = 2**20
MOMENTUM = dl.SGD(0.01, momentum=0.9)

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clip": {"clip_norm": 1.0},
    "accumulate": {"accumulate": 4},
    "slices": {"slices": 3},
    "slices, clip": {"slices": 3, "clip_norm": 1.0},
    "recompute 1 %": {"recompute": 0.01},
    "recompute 10 %": {"recompute": 0.1},
    "bf16": {"precision": "bf16"},
    "adam": {"optimizer": dl.Adam(0.001)},
}

BATCHES = {"vgg16": (64, 128), "vgg11_bn": (16, 64), "lenet": (64,)}
"""Of the zoo's networks; 64 where nothing is said."""


@dataclass(frozen=True)
class Case:
    """A graph to order, made when it is asked for."""

    name: str
    order: Callable[[], tuple[Ordered, float]]
    """The order, and the seconds of one core that it took, recomputation chosen too."""
    alignment: int = field(default=256, kw_only=True)

    def measure(self) -> dict[str, Any]:
        ordered, seconds = self.order()
        peak = max(loads(ordered.graph, self.alignment))
        bound = ordered.lower_bound(self.alignment)
        return {
            "case": self.name,
            "ops": len(ordered.graph.ops),
            "peak_bytes": peak,
            "bound_bytes": bound,
            "gap_percent": round(100 * (peak / bound - 1), 3),
            "cpu_seconds": round(seconds, 2),
        }


def cases() -> Iterator[Case]:
    for make, batch in networks():
        for variant, how in VARIANTS.items():
            yield Case(f"{make().name} b{batch} {variant}", _step(make, batch, how))
    for ops in (200, 500, 2000):
        for seed in range(4):
            yield Case(f"random ops {ops} seed {seed}", _ops(ops, seed), alignment=1)


def networks() -> Iterator[tuple[Callable[[], dl.Network], int]]:
    for name, model in dl.models.MODELS.items():
        for batch in BATCHES.get(name, (64,)):
            yield model, batch
    yield lambda: branches("concat", dl.Concat), 32
    yield lambda: branches("add", dl.Add), 32
    yield shared, 32
    for blocks in (10, 40, 90):
        for seed in range(3):
            yield lambda blocks=blocks, seed=seed: _named(blocks, seed), 8


def branches(name: str, join: Callable[[], Any], count: int = 64) -> dl.Network:
    """Branches of one convolution each, side by side."""
    x = dl.Input((32, 32, 3))
    y = dl.Conv2d(16, 3, padding=1)(x)
    y = join()(*(dl.ReLU()(dl.Conv2d(8, 3, padding=1)(y)) for _ in range(count)))
    y = dl.Flatten()(dl.AdaptiveAvgPool2d(1)(y))
    return dl.Network(x, dl.Linear(10)(y), name=f"64 branches, {name}")


def shared(times: int = 6) -> dl.Network:
    """One convolution, applied to its own output again and again."""
    x = dl.Input((32, 32, 3))
    y, repeated = dl.Conv2d(32, 3, padding=1)(x), dl.Conv2d(32, 3, padding=1)
    for _ in range(times):
        y = dl.ReLU()(repeated(y))
    y = dl.Flatten()(dl.AdaptiveAvgPool2d(1)(y))
    return dl.Network(x, dl.Linear(10)(y), name="shared layer")


def _named(blocks: int, seed: int) -> dl.Network:
    network = synthetic(blocks, seed)
    network.name = f"synthetic {blocks} blocks seed {seed}"
    return network


def _step(
    make: Callable[[], dl.Network], batch: int, how: dict[str, Any]
) -> Callable[[], tuple[Ordered, float]]:
    def order() -> tuple[Ordered, float]:
        settings = dict(how)
        optimizer = settings.pop("optimizer", MOMENTUM)
        options = Options(device="cuda", **settings)
        of = make(), dl.CrossEntropy(), optimizer, batch, options, target_of(options)
        graph = lower_training(*of)
        start = time.process_time()
        return scheduled(graph, options), time.process_time() - start

    return order


def _ops(count: int, seed: int) -> Callable[[], tuple[Ordered, float]]:
    def order() -> tuple[Ordered, float]:
        graph = random_ops(count, seed)
        start = time.process_time()
        return order_for_peak(graph, alignment=1), time.process_time() - start

    return order


def random_ops(count: int, seed: int, largest: int = 99) -> StepGraph:
    """Ops that each read up to three of the last thirty results, and write one or two of at most
    `largest` bytes, perhaps in place."""
    chance = random.Random(seed)
    first = Tensor("x", (chance.randint(1, 9),), "uint8", "input")
    made, ops = [first], []
    for k in range(count):
        recent = made[-30:]
        reads = tuple(chance.sample(recent, min(len(recent), chance.randint(1, 3))))
        writes = tuple(
            Tensor(f"t{k}.{j}", (chance.randint(2, largest),), "uint8", "activation")
            for j in range(chance.choice((1, 1, 2)))
        )
        pairs = [(w, r) for w in range(len(writes)) for r in range(len(reads))]
        in_place = tuple(pair for pair in pairs if chance.random() < 0.4)
        ops.append(Op(_nothing, f"op{k}", "forward", writes, reads, in_place))
        made += writes
    return StepGraph(tuple(ops), (first,), (made[-1],))


def _nothing() -> None:
    """These ops are never run."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="words of rows' names")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    results = []
    for case in cases():
        if any(word in case.name for word in options.only):
            results.append(case.measure())
            print(json.dumps(results[-1]), flush=True)
    if options.out:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        options.out.write_text(json.dumps({"on": machine, "orders": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
