"""Explanation, notebook, PNG, PyTorch snapshot, trace: each against the plan that it shows."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import minidl as dl
from minidl.ir import Tensor
from minidl.recipe import Plan
from minidl.report.explain import explain
from minidl.report.snapshot import BASE, snapshot
from minidl.report.takeovers import Takeovers
from tests.report.test_page import network, planned
from tests.training import random_batches, state_bits


def test_every_layer_is_explained_once() -> None:
    plan = planned()
    layers = [e.layer for e in explain(plan)]
    assert sorted(layers) == sorted({op.layer or "the step" for op in plan.graph.ops})
    text = plan.explain()
    assert all(layer in text for layer in layers)


def test_what_is_said_to_be_overwritten_is_dead_and_lies_there() -> None:
    plan = planned()
    takes, checked = Takeovers(plan), 0
    for i, op in enumerate(plan.graph.ops):
        for t in (t.storage for t in op.writes if t.kind not in ("parameter", "state")):
            place = plan.placements[t]
            if place.first != i:
                continue
            takeover = takes.of(t, op)
            for old in takeover.reused:
                assert plan.placements[old].last <= i
                assert covers(plan, t) & covers(plan, old)
                checked += 1
            if takeover.in_place is not None:
                assert takeover.in_place in {x.storage for x in op.reads}
                assert plan.offset(takeover.in_place) == place.offset
                checked += 1
    assert checked > 10


def covers(plan: Plan, t: Tensor) -> set[int]:
    """The arena's stretches of 16 bytes that a tensor has."""
    return set(range(plan.offset(t) // 16, (plan.offset(t) + t.nbytes + 15) // 16))


def test_the_order_line_says_what_the_order_is() -> None:
    plan = planned()
    for explained in explain(plan):
        for line in explained.lines:
            if line.startswith("order: "):
                ops = [op for op in plan.graph.ops if op.layer == explained.layer]
                phases = [op.phase for op in ops if op.phase in ("dgrad", "wgrad")]
                kernels = [
                    op.phase
                    for op in ops
                    if op.phase == "wgrad" or any(t.kind == "gradient" for t in op.writes)
                ]
                assert len(phases) >= 2
                assert line.startswith(f"order: {kernels[0]} before")


def test_a_notebook_shows_table_and_drawing() -> None:
    plan = planned("<b>&")
    assert plan.modes
    html = plan._repr_html_()
    ElementTree.fromstring(html)
    assert "<svg" in html
    assert "script" not in html
    assert "<b>" not in html
    assert "fujitsu2016" in html


def test_a_notebook_never_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned()
    monkeypatch.setattr("minidl.recipe.Planner", None)
    html = plan._repr_html_()
    ElementTree.fromstring(html)
    assert "certificate: " in html
    assert "fujitsu2016" not in html
    assert "plan.table()" in html


def test_png(tmp_path: Path) -> None:
    file = tmp_path / "plan.png"
    planned().to_png(file)
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000


def test_png_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(dl.ArgumentError, match=re.escape("minidl[plot]")):
        planned().to_png(tmp_path / "plan.png")
    assert not list(tmp_path.iterdir())


def test_a_snapshot_replays_to_the_plan(tmp_path: Path) -> None:
    """As the viewer does: allocations never overlap, frees free what is there."""
    plan, file = planned(), tmp_path / "plan.pickle"
    plan.to_snapshot(file)
    data = pickle.loads(file.read_bytes())
    assert data == snapshot(plan)
    live: dict[int, int] = {}
    allocated = set()
    for event in data["device_traces"][0]:
        address, size = event["addr"] - BASE, event["size"]
        if event["action"] == "alloc":
            assert all(a + s <= address or address + size <= a for a, s in live.items())
            assert 0 <= address <= address + size <= plan.arena_bytes
            live[address] = size
            allocated.add(event["frames"][0]["name"])
        elif event["action"] == "free_completed":
            assert live.pop(address) == size
    assert allocated == {t.name for t in plan.placements if t.view_of is None}
    (segment,) = data["segments"]
    assert segment["total_size"] == plan.arena_bytes
    assert sum(b["size"] for b in segment["blocks"]) == plan.arena_bytes
    active = {b["address"] - BASE: b["size"] for b in segment["blocks"] if "active_a" in b["state"]}
    assert active == live


def test_a_trace_is_one_step_and_shows_every_op(tmp_path: Path) -> None:
    net, file = network(), tmp_path / "trace.json"
    ((images, labels),) = random_batches(np.random.default_rng(0), 4, net.image, 3, count=1)
    traced, plain = (dl.compile(net, 4, seed=2) for _ in range(2))
    loss = traced.trace(file, images, labels)
    assert loss == plain(images, labels)
    assert state_bits(traced) == state_bits(plain)
    events = json.loads(file.read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    assert [e["name"] for e in spans] == [op.name for op in traced.plan.graph.ops]
    ends = [e["ts"] + e["dur"] for e in spans]
    assert all(e["dur"] >= 0 for e in spans)
    assert all(end <= later["ts"] + 1e-3 for end, later in zip(ends, spans[1:], strict=False))
    counters = [e["args"]["bytes"] for e in events if e["ph"] == "C"]
    assert max(counters) == traced.plan.max_load_bytes
