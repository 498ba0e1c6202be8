"""Steps whose plans were larger than need be, or slow: what they need now, beside a run of before.

`python -m benchmarks.planning` prints the table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import minidl as dl
from minidl import models
from minidl.ir import BudgetError, mib

BEFORE = Path(__file__).parent / "results/cpu/2026-11-29/planning_before.json"

Figures = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A step of the zoo, planned for cuda unless `how` says else; SGD with momentum."""

    model: str
    batch: int
    how: Mapping[str, Any] = field(default_factory=dict)
    ask: str = "plan"
    """`curve` of the plan, or `largest_batch` in 8 GiB, or the plan alone."""

    @property
    def name(self) -> str:
        settings = "".join(f" {name}={value}" for name, value in self.how.items())
        return f"{self.model} b{self.batch}{settings}{'' if self.ask == 'plan' else ' ' + self.ask}"


CASES = (
    Case("vgg16", 128),
    Case("vgg16", 128, {"slices": 3}),
    Case("vgg19", 64, {"slices": 3}),
    Case("vgg11_bn", 16, {"clip_norm": 1.0}),
    Case("vgg16_bn", 64, {"clip_norm": 1.0}),
    Case("alexnet_2012", 64, {"clip_norm": 1.0}),
    Case("resnet50", 64, {"clip_norm": 1.0}),
    Case("resnet50", 8, {"device": "cpu"}),
    Case("googlenet", 64),
    Case("vgg16", 128, {"recompute": 0.01}),
    Case("vgg16", 128, {"recompute": 0.03}),
    Case("vgg16", 128, {"recompute": 0.1}),
    Case("resnet50", 64, {"recompute": 0.16}),
    Case("resnet50", 64, {"recompute": 0.24}),
    Case("densenet121", 64, {"recompute": 0.15}),
    Case("resnet50", 64, {"budget": 1_980_293_222}),
    Case("lenet", 64, {"device": "cpu", "budget": "5MiB"}),
    Case("vgg16", 128, ask="curve"),
    Case("resnet50", 64, ask="curve"),
    Case("resnet18", 64, ask="largest_batch"),
)


def measure(case: Case) -> Figures:
    """Bytes, the least of a placement and of an order, work and CPU seconds."""
    net = models.MODELS[case.model]()
    how = {"optimizer": dl.SGD(0.01, momentum=0.9), "device": "cuda", **case.how}
    start = time.process_time()
    found = _asked(case, lambda: dl.plan(net, case.batch, **how))
    return {**found, "cpu_seconds": round(time.process_time() - start, 2)}


def _asked(case: Case, made: Callable[[], dl.Plan]) -> Figures:
    try:
        plan = made()
    except BudgetError as error:
        return {"refused": True, "arena_bytes": error.needed}
    if case.ask == "largest_batch":
        return {"batch": plan.largest_batch("8GiB")}
    if case.ask == "curve":
        plans = plan.curve().plans
        plan, count = plans[-1], {"plans": len(plans)}
    else:
        count = {}
    whole = plan.graph.flops - plan.recompute_flops
    return {
        "arena_bytes": plan.arena_bytes,
        "max_load_bytes": plan.max_load_bytes,
        "order_lower_bound_bytes": plan.order_lower_bound_bytes,
        "work_percent": round(100 * plan.recompute_flops / whole, 2),
        **count,
    }


def rows(words: Sequence[str], before: Mapping[str, Figures]) -> Iterator[tuple[str, Figures, str]]:
    """Of the cases with one of the words in their names: name, figures, and a line of the table."""
    for case in CASES:
        if any(word in case.name for word in words):
            found = measure(case)
            yield case.name, found, _line(case.name, before.get(case.name, {}), found)


def head() -> str:
    return (
        f"{'':<42}{'MiB before':>11}{'now':>8}{'':>9}{'of load':>9}{'of bound':>9}{'work':>8}"
        f"{'s before':>10}{'now':>7}"
    )


def _line(name: str, before: Figures, now: Figures) -> str:
    cells = [f"{name:<42}"]
    cells += [f"{_size(before):>11}", f"{_size(now):>8}", f"{_change(before, now):>9}"]
    load, bound = now.get("max_load_bytes"), now.get("order_lower_bound_bytes")
    cells.append(f"{now['arena_bytes'] / load:9.4f}" if load else f"{'':9}")
    cells.append(f"{load / bound:9.4f}" if load and bound else f"{'':9}")
    cells.append(f"{now['work_percent']:6.2f} %" if load else f"{'':8}")
    cells.append(f"{before.get('cpu_seconds', ''):>10}{now['cpu_seconds']:>7}")
    return "".join(cells)


def _size(figures: Figures) -> str:
    if "batch" in figures:
        return f"b {figures['batch']:,}"
    if figures.get("refused"):
        return "refused"
    return f"{mib(figures['arena_bytes']):,.0f}" if "arena_bytes" in figures else ""


def _change(before: Figures, now: Figures) -> str:
    if before.get("refused") or now.get("refused") or not {"arena_bytes"} <= {*before} & {*now}:
        return ""
    return f"{100 * (now['arena_bytes'] / before['arena_bytes'] - 1):+.1f} %"


def committed(path: Path) -> dict[str, Figures]:
    steps: dict[str, Figures] = json.loads(path.read_text(encoding="utf-8"))["steps"]
    return steps
