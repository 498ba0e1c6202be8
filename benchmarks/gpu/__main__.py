"""Check and measure the CUDA device on a real GPU.

    python -m benchmarks.gpu first-contact [--seconds 165] [--out DIR]         first of all
    python -m benchmarks.gpu --out DIR [--part tests|kernels|train|memory] [--limit SECONDS]

Each part writes DIR/<part>.json and takes at most `--limit` seconds (500): it starts no new case
after that and says what it left out. An existing file is never overwritten. Then
`python -m benchmarks.gpu.report` writes docs/performance.md from benchmarks/results.
PyTorch is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.gpu.about import about, write_once
from benchmarks.gpu.commands import PARTS as PARTS_IN_PHASES
from benchmarks.gpu.commands import main as run_in_phases
from benchmarks.gpu.deadline import Deadline

PARTS = ("tests", "kernels", "train", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--limit", type=float, default=500)
    options = parser.parse_args()
    from minidl.devices.cuda import CudaDevice

    device = CudaDevice()
    for name in options.part or PARTS:
        part = importlib.import_module(f"benchmarks.gpu.{name}_part")
        before = about(device)
        rows = part.measure(device, Deadline(options.limit))
        result = {"about": before, "after": about(device), "rows": rows}
        write_once(options.out / f"{name}.json", result)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in PARTS_IN_PHASES:
        sys.exit(run_in_phases())
    main()
