"""Curve: the same step with more work and fewer bytes, as table, data and drawing."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

import minidl as dl
from minidl.cli import main
from minidl.report.curve import Curve, curve_svg, share


@pytest.fixture(scope="module")
def curve() -> Curve:
    layers = [layer for _ in range(4) for layer in (dl.Conv2d(8, 3, padding=1), dl.ReLU())]
    network = dl.Sequential(dl.Input((12, 12, 3)), *layers, dl.Flatten(), dl.Linear(3))
    return dl.plan(network, 8, device="cuda", budget="1GiB").curve()


def test_every_plan_has_fewer_bytes_for_more_work(curve: Curve) -> None:
    rows = list(curve.rows())
    assert len(rows) > 1
    assert [r["arena_bytes"] for r in rows] == sorted({r["arena_bytes"] for r in rows})[::-1]
    assert [r["share"] for r in rows] == sorted({r["share"] for r in rows})
    for row, plan in zip(rows, curve.plans, strict=True):
        assert row["recompute"] is None or row["recompute"] >= row["share"]
        assert plan.options.budget is None


def test_what_a_row_asks_for_gives_no_more_bytes(curve: Curve) -> None:
    for plan in curve.plans:
        assert isinstance(plan, dl.Plan)
        assert plan.recipe.plan().arena_bytes <= plan.arena_bytes


def test_table_and_drawing_have_every_plan(curve: Curve) -> None:
    lines = str(curve).splitlines()[1:]
    assert len(lines) == len(curve.plans)
    assert all(
        f"{100 * share(p):.2f} %" in line for p, line in zip(curve.plans, lines, strict=True)
    )
    drawing = ElementTree.fromstring(curve_svg(curve.plans))
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}circle"))) == len(curve.plans)
    assert "<svg" in curve.to_html()


def test_other_modes_have_no_curve() -> None:
    network = dl.Sequential(dl.Input((4,)), dl.Linear(3))
    with pytest.raises(dl.ArgumentError, match="'naive' spends no work: use 'arena'"):
        dl.plan(network, 2, memory="naive").curve()


def test_the_command_shows_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = tmp_path / "plan.json", tmp_path / "plan.html"
    flags = ["plan", "--model", "lenet", "--classes", "10", "-b", "4", "--curve"]
    assert main([*flags, "--json", str(file), "--html", str(page)]) == 0
    assert "more work" in capsys.readouterr().out
    rows = json.loads(file.read_text())["curve"]
    assert rows[0]["recompute"] is None or rows[0]["recompute"] == 0
    assert "bytes against work" in page.read_text()
