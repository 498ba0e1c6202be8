"""The table of README that shows measured times, from the file that was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs.rows import table

CPU_STEPS = Path(__file__).parent.parent / "benchmarks/results/cpu/2026-11-24/cpu_step.json"
TITLES = {"alexnet": "AlexNet", "vgg16": "VGG-16", "resnet50": "ResNet-50"}
ENGINES = ("minidl naive", "minidl arena", "minidl recompute")
SHARES = ("arena_over_pytorch", "arena_over_naive", "recompute_over_naive")
HEAD = (
    "", "minidl `naive`", "minidl `arena`", "recompute", "PyTorch", "arena / PyTorch",
    "arena / naive", "recompute / naive",
)  # fmt: skip


def cpu_steps() -> list[dict[str, Any]]:
    """What `python -m benchmarks.cpu_step` wrote: an entry a network."""
    rows: list[dict[str, Any]] = json.loads(CPU_STEPS.read_text(encoding="utf-8"))["rows"]
    return rows


def cpu_steps_table() -> str:
    """Markdown: seconds of a step by engine, PyTorch's the better of its layouts, and quotients."""
    return table(HEAD, map(_line, cpu_steps()))


def _line(row: dict[str, Any]) -> list[str]:
    seconds = row["seconds"]
    theirs = min((seconds[name] for name in seconds if name not in ENGINES), default=None)
    times = (*(seconds[name] for name in ENGINES), theirs)
    return [
        f"{TITLES[row['model']]} b{row['batch']}",
        *("-" if time is None else f"{time:.2f} s" for time in times),
        *("-" if row.get(share) is None else f"{row[share]:.2f}" for share in SHARES),
    ]


TABLES = {("README.md", "cpu steps"): cpu_steps_table}
