"""The page in headless Chromium, as a reader sees it; and what it is made of."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import pytest

import minidl as dl
from minidl.placed.loads import live_at, plan_loads
from minidl.report.page import page_data
from minidl.train.curves import INKS, curves_section
from minidl.train.history import Epoch, History

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1200,900",
    "--enable-logging=stderr",
    "--virtual-time-budget=5000",
    "--dump-dom",
]

PROBE = """
<script>
const box = () => document.getElementById("arena").getBoundingClientRect();
const hint = () => document.getElementById("hint");
function spot(t) {
  const x = box().left + ((t[7] + t[8]) / 2 - view.x0) / (view.x1 - view.x0) * box().width;
  const middle = t[6] + t[5] / 2;
  const y = box().bottom - (middle - view.y0) / (view.y1 - view.y0) * box().height;
  return { clientX: x, clientY: y, bubbles: true };
}
function send(type, how) {
  document.getElementById("arena").dispatchEvent(new PointerEvent(type, how));
}
const found = {};
send("pointermove", spot(plan.tensors[WANTED]));
found.hint = hint().textContent;
found.shown = hint().style.display;
const before = view;
const share = () => (view.x1 - view.x0) / (before.x1 - before.x0);
function wheel(more) {
  const turn = { ...spot(plan.tensors[WANTED]), deltaY: -400, cancelable: true, ...more };
  return !document.getElementById("arena").dispatchEvent(new WheelEvent("wheel", turn));
}
function press(key) {
  document.getElementById("arena").dispatchEvent(new KeyboardEvent("keydown", { key }));
}
found.wheel = { taken: wheel({}), share: share() };
found.ctrl = { taken: wheel({ ctrlKey: true }), share: share() };
press("ArrowRight");
found.next = hint().textContent;
press("-");
found.farther = share();
press("0");
found.whole = share();
press("+");
press("Escape");
found.none = hint().style.display;
document.getElementById("reset").click();
found.reset = JSON.stringify(view) === JSON.stringify(before);
const pen = document.getElementById("arena").getContext("2d");
const pixels = pen.getImageData(0, 0, 300, 300).data;
const colours = Array.from({ length: 90000 }, (_, i) => pixels.slice(4 * i, 4 * i + 3).join());
found.colours = new Set(colours).size;
</script>"""

RESULT = """
<script>
addEventListener("load", () => {
  if (typeof look === "function") look();
  const result = document.createElement("output");
  result.id = "result";
  result.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));
  document.body.append(result);
});
</script>
</body>"""

WIDTHS = (500, 1000, 1600)

LOOK = """
<script>
const found = { overflow: {}, outside: [] };
const side = cell => getComputedStyle(cell).textAlign.replace("start", "left");
function heads(table) {
  const [head, ...rows] = table.rows;
  const cells = rows.flatMap(row => [...row.cells].map((cell, k) => [cell, head.cells[k]]));
  return cells.filter(([cell, above]) => side(cell) !== side(above)).map(pair => pair[1]);
}
function cut(svg) {
  const whole = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter(text => {
    const box = text.getBoundingClientRect();
    const inside = whole.left <= box.left && box.right <= whole.right;
    return !(inside && whole.top <= box.top && box.bottom <= whole.bottom);
  });
}
function look() {
  const frames = [...document.querySelectorAll("iframe")];
  const pages = [document, ...frames.map(frame => frame.contentDocument)];
  const all = name => pages.flatMap(page => [...page.querySelectorAll(name)]);
  all("details").forEach(d => { d.open = true; });
  frames.forEach(frame => {
    const page = frame.contentDocument.documentElement;
    found.overflow[frame.width] = page.scrollWidth - page.clientWidth;
  });
  found.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  for (const name of ["loss", "val_loss"]) {
    found[name] = getComputedStyle(all("polyline." + name)[0]).stroke;
  }
  found.drawings = all("svg").length;
  found.outside = [...all("svg").flatMap(cut), ...all("table").flatMap(heads)];
  found.outside = found.outside.map(node => node.textContent);
}
</script>"""


def network(name: str = "a net") -> dl.Network:
    x = y = dl.Input((16, 16, 3))
    for _ in range(4):
        y = dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(8, 3, padding=1)(y)))
    return dl.Network(x, dl.Linear(3)(dl.Flatten()(dl.MaxPool2d(2)(y))), name=name)


def planned(name: str = "a net", **how: Any) -> dl.Plan:
    return dl.plan(network(name), 4, recompute=1.0, **how)


def in_chromium(
    page: str, folder: Path, probe: str, *flags: str
) -> tuple[dict[str, Any], str, str]:
    """What the probe found, the page's text after its scripts ran, and the browser's log."""
    assert CHROMIUM
    head, tail = page.rsplit("</body>", 1)
    file = folder / "page.html"
    file.write_text(head + probe + RESULT + tail, encoding="utf-8")
    command = [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    result = re.search(r'<output id="result">([^<]*)</output>', done.stdout)
    assert result, done.stderr[-2000:]
    found = json.loads(base64.b64decode(result[1]))
    return found, done.stdout, done.stderr


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    name = '<script>throw new Error("x")</script> & "quoted"'
    plan = planned(name)
    rows = page_data(plan, plan.others())["tensors"]
    tall = [i for i, row in enumerate(rows) if row[5] * 50 > plan.arena_bytes]
    wanted = random.Random(os.urandom(4)).choice(tall)
    row = rows[wanted]
    found, dom, log = in_chromium(plan.to_html(), tmp_path, PROBE.replace("WANTED", str(wanted)))
    assert "CONSOLE" not in log, log
    assert "Uncaught" not in log, log
    assert found["shown"] == "block"
    lines = found["hint"].split("\n")
    assert lines[0] == row[0]
    assert f"{row[5]:,} bytes" in found["hint"]
    assert f"ops [{row[7]}, {row[8]}) at byte {row[6]:,}" in found["hint"]
    assert row[9] in found["hint"]
    assert row[2] in found["hint"]
    assert found["wheel"] == {"taken": False, "share": 1}  # the page scrolls
    assert found["ctrl"]["taken"]
    assert 0 < found["ctrl"]["share"] < 0.9
    assert found["ctrl"]["share"] < found["farther"] <= found["whole"] == 1
    assert found["none"] == "none"
    assert found["next"].split("\n")[0] == rows[(wanted + 1) % len(rows)][0]
    assert found["reset"]
    assert found["colours"] >= 3
    assert "&lt;script&gt;throw new Error" in dom  # as text, in title and heading
    assert f"{plan.arena_bytes:,} bytes" in dom


def history() -> History:
    """With a value for every curve."""
    shares = 0.3, 0.7, 2.1, 0.31, 0.72
    return History([Epoch(e, e, 2 / e, 0.1, 2.2 / e, *shares, speed=1e4) for e in range(1, 12)])


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_pages_and_drawings_at_three_widths_in_the_dark(tmp_path: Path) -> None:
    """The page fits every width, headings stand as their columns, and no text is cut."""
    plan = planned("a name as long as nobody gives " * 4)
    page = escape(plan.to_html(curves_section(history())))
    frames = "".join(f'<iframe width="{w}" height="900" srcdoc="{page}"></iframe>' for w in WIDTHS)
    together = f"<!doctype html><meta charset='utf-8'><body>{plan._repr_html_()}{frames}</body>"
    found, _, log = in_chromium(together, tmp_path, LOOK, "--blink-settings=preferredColorScheme=0")
    assert "Uncaught" not in log, log
    assert found["overflow"] == dict.fromkeys(map(str, WIDTHS), 0)
    assert found["outside"] == []
    assert found["drawings"] == 1 + 3 * len(WIDTHS)
    assert found["dark"]
    for name in ("loss", "val_loss"):
        dark = INKS[name][1]
        assert found[name] == f"rgb({', '.join(str(int(dark[i : i + 2], 16)) for i in (1, 3, 5))})"


def test_nothing_is_fetched() -> None:
    page = planned().to_html()
    assert not re.search(r"(?:src|href|url|import|fetch)\s*[=(]", page.replace("from {", ""))
    assert "http" not in page


def test_the_data_is_the_plan() -> None:
    plan = planned()
    data = page_data(plan, plan.others())
    assert max(data["loads"]) == plan.max_load_bytes
    assert data["loads"] == plan_loads(plan)
    assert len(data["ops"]) == len(plan.graph.ops)
    owners = [(t, p) for t, p in plan.placements.items() if t.view_of is None]
    for row, (t, place) in zip(data["tensors"], owners, strict=True):
        assert row[:2] == [t.name, t.kind]
        assert row[5:9] == [t.nbytes, place.offset, place.first, place.last]
    peak = data["peak"]
    assert data["loads"][peak["position"]] == plan.max_load_bytes
    sizes = [bytes_ for _, _, bytes_ in peak["causes"]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(data["recomputed"]) == sum(op.phase == "recompute" for op in plan.graph.ops) > 0


@pytest.mark.parametrize("memory", ["naive", "caffe", "liveness", "fujitsu2016", "arena"])
def test_loads_reach_the_load_of_every_mode(memory: str) -> None:
    plan = dl.plan(network(), 4, memory=memory)
    loads = plan_loads(plan)
    assert max(loads) == plan.max_load_bytes
    assert len(loads) == len(plan.graph.ops)
    position = loads.index(max(loads))
    assert sum(t.nbytes for t in live_at(plan, position)) >= 0.9 * max(loads)
