"""Placement of hard instances: the exact search beside every greedy heuristic.

    python -m benchmarks.placement [FOLDER] [--out FILE]

FOLDER has CSV files `NAME.CAPACITY.csv` with the columns id,lower,upper,size, such as those that
MiniMalloc is published with. Beside them instances of every kind of `benchmarks.instances`, with a
known packing, at its height and 1 and 5 % above.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

from benchmarks.instances import KINDS, instance
from minidl.compiler.place import Block, Placed, max_load, top
from minidl.compiler.place.blocks import crowds, neighbours
from minidl.compiler.place.exact import decide
from minidl.compiler.place.greedy import RANKS, fits, greedy
from minidl.compiler.place.table import read_table

NODES = 1_000_000
KNOWN_NODES = 100_000
COUNTS, SEEDS, OVER = (150, 300, 500), 2, (0, 0.01, 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    files = sorted(options.folder.glob("*.csv")) if options.folder else []
    results = [measure(path) for path in files]
    known = [
        measure_known(kind, count, seed, over)
        for kind in KINDS
        for count in COUNTS
        for seed in range(SEEDS)
        for over in OVER
    ]
    if options.out:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        options.out.write_text(
            json.dumps({"on": machine, "instances": results, "known": known}, indent=1) + "\n"
        )


def measure(path: Path) -> dict[str, Any]:
    """Heights and times for one instance, printed as they come."""
    blocks = read_table(path.read_text(encoding="utf-8"), path.name).blocks
    capacity = int(path.name.split(".")[1])
    print(f"{path.name}: {len(blocks)} blocks, load {max_load(blocks):,}, capacity {capacity:,}")
    start = time.perf_counter()
    answer = decide(blocks, capacity, NODES)
    seconds = time.perf_counter() - start
    height = top(blocks, answer.offsets) if isinstance(answer, Placed) else None
    print(f"  {'exact search':<24} {height or 'none found':>12}  {seconds:8.2f} s", flush=True)
    heuristics = _heuristics(blocks)
    for name, (found, spent) in heuristics.items():
        over = 100 * (found / capacity - 1)
        print(f"  {name:<24} {found:>12}  {spent:8.2f} s  {over:+6.1f} % of capacity")
    return {
        "instance": path.name,
        "blocks": len(blocks),
        "max_load": max_load(blocks),
        "capacity": capacity,
        "exact": {"height": height, "seconds": seconds, "nodes": answer.nodes},
        "greedy": {name: {"height": h, "seconds": s} for name, (h, s) in heuristics.items()},
    }


def measure_known(kind: str, count: int, seed: int, over: float) -> dict[str, Any]:
    """What the exact search says of one instance that is known to fit, and in which time."""
    known = instance(kind, count, seed)
    start = time.perf_counter()
    answer = decide(known.blocks, int(known.height * (1 + over)), KNOWN_NODES)
    figures = {
        "instance": known.name,
        "blocks": len(known.blocks),
        "over": over,
        "answer": type(answer).__name__,
        "nodes": answer.nodes,
        "seconds": time.perf_counter() - start,
    }
    print(json.dumps(figures), flush=True)
    return figures


def _heuristics(blocks: tuple[Block, ...]) -> dict[str, tuple[int, float]]:
    """Height and seconds of each greedy placement."""
    crowd, found = crowds(blocks), {}
    for rank_name, rank in RANKS.items():
        order = sorted(range(len(blocks)), key=lambda i: rank(blocks[i], crowd[i]))
        for fit_name, fit in fits(max_load(blocks)).items():
            start = time.perf_counter()
            height = greedy(blocks, neighbours(blocks), order, fit).height
            found[f"{rank_name}, {fit_name}"] = height, time.perf_counter() - start
    return found


if __name__ == "__main__":
    main()
