"""Learning curves as inline SVG for a page, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from minidl.report.colours import BLUE, GREEN, ORANGE, PURPLE, Ink
from minidl.train.history import FIELDS, History

INKS: dict[str, Ink] = {
    "loss": BLUE,
    "val_loss": ORANGE,
    "ema_loss": PURPLE,
    "top1": ORANGE,
    "top5": GREEN,
    "ema_top1": PURPLE,
    "learning_rate": BLUE,
}
COLOURS = {name: light for name, (light, _) in INKS.items()}
"""On a light ground."""
NAMES = {
    "loss": "training loss",
    "val_loss": "validation loss",
    "ema_loss": "loss, averaged weights",
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "ema_top1": "top-1, averaged weights",
    "learning_rate": "learning rate",
}
CHARTS = (
    ("Loss", ("loss", "val_loss", "ema_loss")),
    ("Accuracy", ("top1", "top5", "ema_top1")),
    ("Learning rate", ("learning_rate",)),
)
"""Title and columns of each chart."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 260, 64, 12, 34, 40
"""Pixels."""
LETTER = 7
"""Pixels that a letter takes."""

Point = tuple[int, float]
"""Epoch and value."""


@dataclass(frozen=True)
class Scale:
    """From epochs and values to pixels."""

    first: int
    last: int
    low: float
    high: float

    def x(self, epoch: float) -> float:
        share = (epoch - self.first) / max(1, self.last - self.first)
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def points(history: History, name: str) -> list[Point]:
    """What was measured of one column and is finite."""
    rows = zip(history["epoch"], history[name], strict=True)
    return [(epoch, v) for epoch, v in rows if v is not None and math.isfinite(v)]


def curves_section(history: History) -> str:
    """HTML: a chart for each of CHARTS that has points, and a table of all epochs."""
    charts = "\n".join(filter(None, (chart(history, title, names) for title, names in CHARTS)))
    stopped = f"<p>Stopped: {escape(history.stopped)}.</p>" if history.stopped else ""
    return (
        f'<section id="curves">\n<style>{_style()}</style>\n<h2>Learning curves</h2>\n{stopped}'
        f'<div class="charts">{charts}</div>\n'
        f'<details><summary>Every epoch</summary><div class="wide">{_table(history)}</div>'
        "</details>\n</section>"
    )


def _style() -> str:
    """Each curve's colour, on a light ground and on a dark one."""
    light, dark = (
        "".join(f"#curves .{name} {{ color: {ink[k]} }}" for name, ink in INKS.items())
        for k in (0, 1)
    )
    return f"{light}@media (prefers-color-scheme: dark) {{ {dark} }}"


def chart(history: History, title: str, names: Sequence[str]) -> str:
    """One SVG; empty where there is nothing to show."""
    lines = {name: found for name in names if (found := points(history, name))}
    if not lines:
        return ""
    epochs = [epoch for line in lines.values() for epoch, _ in line]
    values = [value for line in lines.values() for _, value in line]
    low, high = min(0.0, *values), max(values)
    scale = Scale(min(epochs), max(epochs), low, high if high > low else low + 1)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-size="12" '
        f'fill="currentColor" role="img" aria-label="{escape(title)} by epoch">',
        *_axes(scale),
        *(part for name, line in lines.items() for part in _line(scale, name, line)),
        *_legend(lines),
        "</svg>",
    ]
    return "\n".join(parts)


def _axes(scale: Scale) -> Iterator[str]:
    for k in range(5):
        value = scale.low + (scale.high - scale.low) * k / 4
        y = scale.y(value)
        yield (
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="currentColor" '
            'stroke-opacity="0.15"/>'
        )
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    for epoch in dict.fromkeys((scale.first, (scale.first + scale.last) // 2, scale.last)):
        x = min(scale.x(epoch), WIDTH - LETTER * len(f"{epoch}") / 2)
        y = HEIGHT - BOTTOM + 17
        yield f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{epoch}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">epoch</text>'


def _line(scale: Scale, name: str, line: Sequence[Point]) -> Iterator[str]:
    path = " ".join(f"{scale.x(epoch):.1f},{scale.y(value):.1f}" for epoch, value in line)
    yield (
        f'<polyline class="{name}" points="{path}" fill="none" stroke="currentColor" '
        'stroke-width="2"/>'
    )
    for epoch, value in line:
        yield (
            f'<circle class="{name}" cx="{scale.x(epoch):.1f}" cy="{scale.y(value):.1f}" r="3" '
            'fill="currentColor">'
            f"<title>{NAMES[name]} {value:.6g} in epoch {epoch}</title></circle>"
        )


def _legend(names: Sequence[str] | dict[str, list[Point]]) -> Iterator[str]:
    x = LEFT
    for name in names:
        yield f'<path class="{name}" d="M{x} 14h16" stroke="currentColor" stroke-width="2"/>'
        yield f'<text x="{x + 22}" y="18">{NAMES[name]}</text>'
        x += 40 + LETTER * len(NAMES[name])


def _table(history: History) -> str:
    shown = [n for n in FIELDS if any(value is not None for value in history[n])]
    head = "".join(f'<th class="number">{name.replace("_", " ")}</th>' for name in shown)
    rows = "".join(
        "<tr>" + "".join(f'<td class="number">{_word(row[n])}</td>' for n in shown) + "</tr>"
        for row in history.rows()
    )
    return f'<table class="figures"><tr>{head}</tr>{rows}</table>'


def _word(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"
