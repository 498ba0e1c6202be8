"""Plans of steps that were hard, beside a run of before; then time and bytes of synthetic networks.

    python -m benchmarks.planning [--only WORD ...] [--ops 100 1000 10000] [--before FILE]
        [--out FILE]

`--only vgg slices` keeps the steps whose name has one of the words, `--ops` without a number leaves
the networks out. These are random DAGs of convolutions, BatchNorm, ReLU, pools, sums and
concatenations, so that lowering, gradients and optimizer are those of real networks. Beside the
plan stand the bytes of the plain layer order without any rewrite (mode `liveness`) and of the best
placement by first fit.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import minidl as dl
from benchmarks import steps
from minidl.compiler.buffers import in_place
from minidl.compiler.lifetimes import Lifetime
from minidl.compiler.lower import lower_training
from minidl.compiler.place import Block
from minidl.compiler.place.blocks import crowds
from minidl.compiler.place.greedy import RANKS, first_fit
from minidl.compiler.planner import make_plan
from minidl.devices.known import target_of
from minidl.ir import StepGraph
from minidl.options import Options
from minidl.placed.graph import Subject

BATCH = 8
OPTIONS = Options(device="cuda")


def synthetic(blocks: int, seed: int = 0) -> dl.Network:
    """A random DAG of `blocks` blocks, a chain with branches and skips."""
    chance = random.Random(seed)
    x = dl.Input((32, 32, 3))
    y, size = dl.Conv2d(16, 3, padding=1)(x), 32
    earlier = [y]
    for _ in range(blocks):
        features = chance.choice((8, 16, 24))
        kernel = chance.choice((1, 3))
        y = dl.Conv2d(features, kernel, padding=kernel // 2)(y)
        y = dl.ReLU()(dl.BatchNorm2d()(y))
        partner = chance.choice(earlier[-4:])
        if chance.random() < 0.3:
            y = dl.Concat()(dl.Conv2d(8, 1)(y), dl.Conv2d(8, 1)(partner))
        elif chance.random() < 0.4:
            y = dl.Add()(y, dl.Conv2d(features, 1)(partner))
        if size > 2 and chance.random() < 8 / blocks:
            y, size, earlier = dl.MaxPool2d(2)(y), size // 2, []
        earlier.append(y)
    y = dl.Flatten()(dl.AdaptiveAvgPool2d(1)(y))
    return dl.Network(x, dl.Linear(10)(y), name=f"synthetic of {blocks} blocks")


def of_ops(count: int) -> StepGraph:
    """The step graph of a synthetic network with about `count` ops."""
    blocks = max(2, count // 22)
    graph = _lowered(blocks)
    return _lowered(max(2, round(blocks * count / len(graph.ops))))


def _lowered(blocks: int) -> StepGraph:
    how = dl.CrossEntropy(), dl.SGD(0.1, 0.9), BATCH, OPTIONS, target_of(OPTIONS)
    return lower_training(synthetic(blocks), *how)


def measure(count: int) -> dict[str, Any]:
    """Plan a graph of about `count` ops; figures as they come."""
    start = time.perf_counter()
    graph = of_ops(count)
    lowered = time.perf_counter()
    subject = Subject("synthetic", BATCH, (32, 32, 3))
    plan = make_plan(graph, subject, OPTIONS)
    planned = time.perf_counter()
    liveness = make_plan(graph, subject, replace(OPTIONS, memory="liveness"))
    figures = {
        "ops": len(graph.ops),
        "lowering_seconds": lowered - start,
        "planning_seconds": planned - lowered,
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "arena_bytes": plan.arena_bytes,
        "max_load_bytes": plan.max_load_bytes,
        "order_lower_bound_bytes": plan.order_lower_bound_bytes,
        "liveness_bytes": liveness.arena_bytes,
        "best_greedy_bytes": best_greedy(plan),
    }
    print(json.dumps(figures), flush=True)
    return figures


def best_greedy(plan: dl.Plan) -> int:
    """The lowest of all placements of the plan's own tensors by first fit, without repair or
    search."""
    sharing = in_place(plan.graph)
    alive = [
        (buffer.nbytes, [sharing.alive[t] for t in buffer.members]) for buffer in sharing.buffers()
    ]
    blocks = [
        Block(
            -(-size // plan.options.alignment) * plan.options.alignment,
            Lifetime(min(x.first for x in lives), max(x.last for x in lives)),
        )
        for size, lives in alive
    ]
    crowd = crowds(blocks)
    orders = (
        sorted(range(len(blocks)), key=lambda i: rank(blocks[i], crowd[i]))
        for rank in RANKS.values()
    )
    return min(first_fit(blocks, order).height for order in orders)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="words of steps' names")
    parser.add_argument("--ops", type=int, nargs="*", default=[100, 1000, 10000])
    parser.add_argument("--before", type=Path, default=steps.BEFORE, help="a committed run")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    print(steps.head(), flush=True)
    found = {}
    for name, figures, line in steps.rows(options.only, steps.committed(options.before)):
        found[name] = figures
        print(line, flush=True)
    results = [measure(count) for count in options.ops]
    if options.out:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        whole = {"on": machine, "steps": found, "graphs": results}
        options.out.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
