"""The arena's drawing: valid XML, a rectangle a tensor, everything within the frame."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

import minidl as dl
from minidl.placed.graph import PlacedGraph
from minidl.report.svg import BOTTOM, COLOURS, LEFT, RIGHT, TOP, load_curve, plan_svg, used_spans

SVG = "{http://www.w3.org/2000/svg}"
MODES = ("naive", "caffe", "liveness", "fujitsu2016", "arena")


def plan(memory: str, batch: int = 4) -> PlacedGraph:
    net = dl.Sequential(
        dl.Input((8, 8, 3)),
        dl.Conv2d(5, 3, padding=1),
        dl.ReLU(),
        dl.MaxPool2d(2),
        dl.Flatten(),
        dl.Dropout(),
        dl.Linear(10),
    )
    return dl.plan(net, batch, memory=memory)


def rectangles(root: ET.Element) -> list[ET.Element]:
    return [e for e in root.iter(f"{SVG}rect") if e.get("class") == "tensor"]


@pytest.mark.parametrize("memory", MODES)
def test_one_rectangle_a_tensor(memory: str) -> None:
    made = plan(memory)
    owners = [t for t in made.placements if t.view_of is None]
    found = rectangles(ET.fromstring(plan_svg(made)))
    hints = [e.findtext(f"{SVG}title") or "" for e in found]
    assert sorted(re.sub("\nlayer .*", "", hint) for hint in hints) == sorted(
        f"{t.name} ({t.kind})\n{t.nbytes:,} bytes at offset {place.offset:,}\n"
        f"ops [{place.first}, {place.last})"
        for t, place in made.placements.items()
        if t in owners
    )
    assert len(found) == len(owners)


@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize(("width", "height"), [(1000, 420), (640, 300)])
def test_rectangles_lie_within_the_plot(memory: str, width: int, height: int) -> None:
    root = ET.fromstring(plan_svg(plan(memory), width, height))
    assert (root.get("width"), root.get("height")) == (str(width), str(height))
    for e in rectangles(root):
        x, y, w, h = (float(e.get(key, "nan")) for key in ("x", "y", "width", "height"))
        assert LEFT - 0.1 <= x <= x + w <= width - RIGHT + 0.1
        assert TOP - 0.02 <= y <= y + h <= height - BOTTOM + 0.02
        assert e.get("fill") in COLOURS.values()


@pytest.mark.parametrize("memory", MODES)
def test_bytes_in_use(memory: str) -> None:
    made = plan(memory)
    curve = load_curve(made)
    assert len(curve) == len(made.graph.ops)
    assert 0 < max(curve) <= made.max_load_bytes <= made.arena_bytes
    for t, (first, last) in used_spans(made).items():
        assert made.placements[t].first <= first <= last <= made.placements[t].last


def test_naive_is_pale_where_nothing_is_used() -> None:
    pale = [e.get("fill-opacity") for e in rectangles(ET.fromstring(plan_svg(plan("naive"))))]
    assert any(pale)
    assert not all(pale)


def test_names_are_escaped() -> None:
    x = dl.Input((4,))
    net = dl.Network(x, dl.Linear(2)(x, name='a<b>&"c"'), name="<&>")
    made = dl.plan(net, 2)
    root = ET.fromstring(plan_svg(made))
    assert "<&>, batch 2" in (root.findtext(f"{SVG}title") or "")
    assert plan_svg(made) == plan_svg(made)
