"""Placement of hard instances: the exact search beside every greedy heuristic.

    python -m benchmarks.placement FOLDER [--out FILE]

FOLDER has CSV files `NAME.CAPACITY.csv` with the columns id,lower,upper,size, such as those that
MiniMalloc is published with.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

from minidl.compiler.place import Block, max_load, top
from minidl.compiler.place.blocks import crowds, neighbours
from minidl.compiler.place.exact import find_placement
from minidl.compiler.place.greedy import RANKS, fits, greedy
from minidl.compiler.place.table import read_table

NODES = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    results = [measure(path) for path in sorted(options.folder.glob("*.csv"))]
    if options.out:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        options.out.write_text(json.dumps({"on": machine, "instances": results}, indent=1) + "\n")


def measure(path: Path) -> dict[str, Any]:
    """Heights and times for one instance, printed as they come."""
    blocks = read_table(path.read_text(encoding="utf-8"), path.name).blocks
    capacity = int(path.name.split(".")[1])
    print(f"{path.name}: {len(blocks)} blocks, load {max_load(blocks):,}, capacity {capacity:,}")
    start = time.perf_counter()
    offsets = find_placement(blocks, capacity, NODES)
    seconds = time.perf_counter() - start
    height = top(blocks, offsets) if offsets is not None else None
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
        "exact": {"height": height, "seconds": seconds},
        "greedy": {name: {"height": h, "seconds": s} for name, (h, s) in heuristics.items()},
    }


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
