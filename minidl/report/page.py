"""One self-contained page about a plan: no network, no library, any browser."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from minidl.ir.op import Op
from minidl.ir.sizes import format_size
from minidl.ir.tensor import Tensor
from minidl.placed.graph import PlacedGraph
from minidl.placed.loads import live_at, plan_loads
from minidl.report.colours import KINDS
from minidl.report.columns import cell
from minidl.report.explain import explain
from minidl.report.others import Others
from minidl.report.svg import plan_svg
from minidl.report.table import certificate
from minidl.report.takeovers import Takeovers

MODE_HEAD = ("mode", "arena", "of caffe", "what it does")
MODES_HERE = "<p>plan.table() has the step in every memory mode.</p>"
LISTED = 12
"""Causes of the peak that are listed by name."""


def plan_page(plan: PlacedGraph, others: Others, more: str = "") -> str:
    """HTML: the arena over time to zoom into, the load and its peak, modes, explanation; `more` is
    HTML that stands above them."""
    data = json.dumps(page_data(plan, others), separators=(",", ":"))
    page = _template().replace("<!--MORE-->", more)
    return page.replace("/*PLAN*/", data.replace("<", "\\u003c"))


@cache
def _template() -> str:
    return resources.files("minidl.report").joinpath("page.html").read_text("utf-8")


def page_data(plan: PlacedGraph, others: Others) -> dict[str, Any]:
    """What the page shows, as plain data."""
    s, options, loads = plan.subject, plan.options, plan_loads(plan)
    peak = loads.index(max(loads)) if loads else 0
    return {
        "title": f"{s.model}, batch {s.batch}",
        "setting": {
            "image": "x".join(map(str, s.image)),
            "precision": options.precision,
            "device": options.device,
            "memory mode": options.memory,
            "ops": len(plan.graph.ops),
            "work": f"{plan.graph.flops / 1e9:,.1f} GFLOP",
            "run again": f"{plan.recompute_flops / 1e9:,.2f} GFLOP",
        },
        "arena": plan.arena_bytes,
        "certificate": certificate(plan),
        "numbers": {
            "arena": plan.arena_bytes,
            "most bytes live at once": plan.max_load_bytes,
            "least of any order": plan.order_lower_bound_bytes,
        },
        "kinds": dict(KINDS),
        "ops": [[op.name, op.phase] for op in plan.graph.ops],
        "tensors": list(_tensors(plan)),
        "loads": loads,
        "peak": {
            "position": peak,
            "causes": [[t.name, t.kind, t.nbytes] for t in live_at(plan, peak)[:LISTED]],
        },
        "modes": [[row.name, row.arena_bytes, row.idea] for row in others.modes],
        "recomputed": [[op.name, op.flops] for op in plan.graph.ops if op.phase == "recompute"],
        "layers": [[layer.layer, layer.lines] for layer in explain(plan)],
    }


def _tensors(plan: PlacedGraph) -> Iterable[list[Any]]:
    """Rows: name, kind, layer, shape, dtype, bytes, offset, first, last, what it lies over."""
    takes = Takeovers(plan)
    makers: dict[Tensor, Op] = {}
    for op in plan.graph.ops:
        for t in (*op.writes, *op.reads):
            makers.setdefault(t.storage, op)
    for t, place in plan.placements.items():
        if t.view_of is None:
            maker = makers.get(t)
            over = _over(takes, t, maker) if maker is not None and not t.given else ""
            layer = maker.layer if maker is not None else ""
            shape = "x".join(map(str, t.shape)) or "scalar"
            row = [t.name, t.kind, layer, shape, t.dtype, t.nbytes]
            yield [*row, place.offset, place.first, place.last, over]


def _over(takes: Takeovers, t: Tensor, maker: Op) -> str:
    takeover = takes.of(t, maker)
    if takeover.in_place is not None:
        return f"in place over {takeover.in_place.name}"
    if takeover.reused:
        return "bytes of " + ", ".join(o.name for o in takeover.reused)
    return "free bytes"


def notebook(plan: PlacedGraph, others: Others) -> str:
    """A small table and drawing for a notebook: no script."""
    rows = "".join(
        f"<tr>{cell('td', row.name)}{cell('td', format_size(row.arena_bytes), 'right')}"
        f"{cell('td', share, 'right')}{cell('td', row.idea)}</tr>"
        for row, share in others.shares()
    )
    head = "".join(
        cell("th", word, side)
        for word, side in zip(MODE_HEAD, ("left", "right", "right", "left"), strict=True)
    )
    table = f"<table><tr>{head}</tr>{rows}</table>" if rows else MODES_HERE
    wide = f'<div style="overflow-x:auto">{plan_svg(plan, 820, 340)}{table}</div>'
    return f"<div>{wide}<p>{escape(certificate(plan))}</p></div>"
