"""Colours stand out from what they lie on: WCAG 2.2, 1.4.11 for graphics and 1.4.3 for text."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from minidl.report.colours import KINDS
from minidl.report.svg import BACKGROUND, COLOURS, FAINT
from minidl.report.svg import INK as TEXT
from minidl.train.curves import INKS

PAGE = resources.files("minidl.report").joinpath("page.html").read_text("utf-8")
ROOTS = re.findall(r":root \{(.*?)\}", PAGE, re.DOTALL)
LIGHT, DARK = (dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", root)) for root in ROOTS)
GRAPHICS, WORDS = 3.0, 4.5


def luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure() -> None:
    """The ends of its scale, and the grey that is the lightest one allowed for text on white."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1
    assert contrast("#767676", "#ffffff") >= WORDS > contrast("#777777", "#ffffff")


@pytest.mark.parametrize("shade", [0, 1], ids=["light", "dark"])
def test_graphics_of_the_page(shade: int) -> None:
    names = (LIGHT, DARK)[shade]
    assert names.keys() >= {"ground", "panel", "ink", "faint", "mark", "load"}
    dim = {
        (what, ground): round(contrast(ink, names[ground]), 2)
        for ground, inks in (
            ("ground", {name: ink[shade] for name, ink in INKS.items()}),
            ("panel", {kind: ink[shade] for kind, ink in KINDS.items()}),
            ("panel", {name: names[name] for name in ("mark", "load")}),
        )
        for what, ink in inks.items()
        if contrast(ink, names[ground]) < GRAPHICS
    }
    assert not dim


@pytest.mark.parametrize("names", [LIGHT, DARK], ids=["light", "dark"])
def test_text_of_the_page(names: dict[str, str]) -> None:
    for ground in ("ground", "panel"):
        for ink in ("ink", "faint", "mark"):
            assert contrast(names[ink], names[ground]) >= WORDS, (ink, ground)


def test_a_drawing_of_its_own() -> None:
    assert all(contrast(colour, BACKGROUND) >= GRAPHICS for colour in COLOURS.values())
    assert contrast(TEXT, BACKGROUND) >= WORDS <= contrast(FAINT, BACKGROUND)


def test_kinds_differ() -> None:
    for shade in (0, 1):
        assert len({ink[shade] for ink in KINDS.values()}) == len(KINDS)
