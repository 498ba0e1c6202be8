"""What docs/architecture.md and docs/tutorial.md show of plans."""

from __future__ import annotations

from typing import Any

import minidl as dl
from docs.plans import OPTIMIZER
from minidl import models
from minidl.ir import mib


def tiny_network() -> dl.Sequential:
    return dl.Sequential(
        dl.Input((8, 8, 1)), dl.Conv2d(4, 3, padding=1), dl.ReLU(), dl.MaxPool2d(2),
        dl.Flatten(), dl.Linear(10),
    )  # fmt: skip


def tiny_ops(memory: str) -> str:
    """Every op of one step of a tiny network, in schedule order."""
    plan = dl.plan(tiny_network(), 2, optimizer=OPTIMIZER, device="cuda", memory=memory)
    lines = [f"{'':2} {'phase':8}{'op':58}writes <- reads"]
    for i, op in enumerate(plan.graph.ops):
        reads = ", ".join(t.name for t in op.reads)
        writes = ", ".join(t.name for t in op.writes)
        lines.append(f"{i:2} {op.phase:8}{op.name:58}{writes} <- {reads}")
    return "\n".join(["```", *lines, "```"])


def tutorial_plan(**how: Any) -> dl.Plan:
    net = dl.from_bytes(models.vgg_small(classes=10), (125.3, 122.9, 113.9), (62.5, 61.9, 66.5))
    return dl.plan(net, 128, optimizer=dl.SGD(0.1, 0.9, weight_decay=5e-4), **how)


def shown(*lines: str) -> str:
    return "\n".join(["```text", *lines, "```"])


def tutorial_table() -> str:
    return shown(*tutorial_plan().table().splitlines())


def tutorial_summary() -> str:
    """Its head, one row, and the totals."""
    lines = str(tutorial_plan().summary()).splitlines()
    row = next(line for line in lines if line.startswith("features.3 "))
    return shown(*lines[:2], "...", row, "...", *lines[-3:])


def tutorial_budget() -> str:
    smaller = tutorial_plan(budget="80MiB")
    again = smaller.recompute_flops / smaller.graph.flops
    batch = tutorial_plan().largest_batch("1GiB")
    return shown(
        f"{mib(smaller.arena_bytes):.1f} MiB, {again:.1%} again", f"batch {batch} fits into 1 GiB"
    )
