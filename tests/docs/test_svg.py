"""The arena's drawing: valid XML, a rectangle a tensor, everything within the frame."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

import minidl as dl
from minidl.placed.graph import PlacedGraph
from minidl.report.svg import BOTTOM, COLOURS, LEFT, RIGHT, TOP, load_curve, plan_svg, used_spans
from minidl.train.curves import CHARTS, chart
from minidl.train.history import Epoch, History

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


def reach(e: ET.Element, size: float) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of a text, letters taken for as wide as those of wide faces."""
    letters = e.text or ""
    size = float(e.get("font-size") or size)
    wide = len(letters) * size * (0.65 if e.get("font-weight") else 0.58)
    x, y = float(e.get("x", "nan")), float(e.get("y", "nan"))
    left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[e.get("text-anchor", "start")]
    turned = re.match(r"rotate\(-90 ([\d.]+) ([\d.]+)\)", e.get("transform", ""))
    if turned:
        cx, cy = float(turned[1]), float(turned[2])
        return cx - size, cx + size / 3, cy - wide / 2, cy + wide / 2
    return left, left + wide, y - size, y + size / 3


def cut(svg: str) -> list[str]:
    """Texts that reach out of the drawing."""
    root = ET.fromstring(svg)
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    size = float(root.get("font-size") or "nan")
    return [
        e.text or ""
        for e in root.iter()
        if e.tag.endswith("text")
        for left, right, top, bottom in [reach(e, size)]
        if left < 0 or right > width or top < 0 or bottom > height
    ]


@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize(("width", "height"), [(1000, 420), (820, 340), (640, 300), (400, 260)])
def test_no_text_is_cut(memory: str, width: int, height: int) -> None:
    svg = plan_svg(plan(memory), width, height)
    assert cut(svg) == []
    assert "bytes in use" in svg


def test_no_long_caption_is_cut() -> None:
    name = "features" * 25
    net = dl.Network(x := dl.Input((4,)), dl.Linear(2)(x), name=name)
    svg = plan_svg(dl.plan(net, 2), 820, 340)
    assert cut(svg) == []
    assert f"<title>{name}, batch 2" in svg


def test_no_text_of_a_chart_is_cut() -> None:
    one = Epoch(123_456, 1, 2.0e-7, 1.0e-5, 3.0e12, 0.5, 0.9, 2.0, 0.5, 0.9)
    for title, names in CHARTS:
        assert cut(chart(History([replace(one, epoch=1), one]), title, names)) == []
