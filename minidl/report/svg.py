"""plan_svg: the arena over time as a drawing. Schedule position across, bytes up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast
from xml.sax.saxutils import escape

from minidl.ir.sizes import mib
from minidl.ir.tensor import Kind, Tensor
from minidl.placed.graph import PlacedGraph, Placement
from minidl.report.colours import COLOURS

BACKGROUND, INK, FAINT, LINE = "#ffffff", "#1f2933", "#6b7785", "#dde3ea"
LEFT, RIGHT, TOP, BOTTOM = 74, 18, 58, 78
"""Pixels around the plot; more below where the legend takes several lines."""
LETTER, CAPTION_LETTER, LINE_HEIGHT = 7.0, 10.0, 20
"""Pixels that a letter takes at 12 pixels and in the bold caption, and a line of the legend."""

IN_USE = "bytes in use"
"""Words of the line in the legend."""

Span = tuple[int, int]
"""Half-open range of schedule positions."""


@dataclass(frozen=True)
class Frame:
    """The plot's rectangle in pixels, and what it shows: positions and bytes."""

    width: int
    height: int
    positions: int
    top_bytes: int
    legend_lines: int = 1

    @property
    def right(self) -> int:
        return self.width - RIGHT

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM - LINE_HEIGHT * (self.legend_lines - 1)

    def x(self, position: float) -> float:
        return LEFT + (self.right - LEFT) * position / max(1, self.positions)

    def y(self, count: float) -> float:
        return self.bottom - (self.bottom - TOP) * count / max(1, self.top_bytes)


def plan_svg(plan: PlacedGraph, width: int = 1000, height: int = 420) -> str:
    """A self-contained SVG of `width` x `height` pixels: one rectangle a tensor, views left out.

    A rectangle is pale where its bytes are reserved and not in use; the line is the number of
    bytes in use. Pointing at a rectangle shows tensor, layer, bytes and lifetime.
    """
    legend = _legend_lines(plan, width)
    frame = Frame(width, height, len(plan.graph.ops), plan.arena_bytes, len(legend))
    used = used_spans(plan)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
        f"<title>{escape(_caption(plan))}</title>",
        f'<path d="M0 0H{width}V{height}H0Z" fill="{BACKGROUND}"/>',
        *_grid(frame),
        *(_tensor(plan, t, frame, used[t]) for t in _in_time(plan)),
        _load_line(plan, frame, used),
        *_axes(plan, frame),
        *_legend(legend, frame),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def used_spans(plan: PlacedGraph) -> dict[Tensor, Span]:
    """From the first op that touches a tensor to the last; persistent ones all the time."""
    end = len(plan.graph.ops)
    spans: dict[Tensor, Span] = dict.fromkeys(plan.graph.inputs, (0, 1))
    for i, op in enumerate(plan.graph.ops):
        for t in (*op.reads, *op.writes):
            spans[t.storage] = spans.get(t.storage, (i, i))[0], i + 1
    for t in plan.graph.outputs:
        spans[t.storage] = spans.get(t.storage, (0, end))[0], end
    lasting = {t: (0, end) for t in plan.placements if t.persistent}
    unused = {t: (0, 0) for t in plan.placements if t not in spans and t.view_of is None}
    return spans | unused | lasting


def load_curve(plan: PlacedGraph) -> list[int]:
    """Bytes in use at each position, each byte once: a handover in place shares its bytes."""
    return _loads(plan, used_spans(plan))


def _loads(plan: PlacedGraph, used: Mapping[Tensor, Span]) -> list[int]:
    alive: list[list[Span]] = [[] for _ in plan.graph.ops]
    for t in _in_time(plan):
        offset = plan.offset(t)
        for position in range(*used[t]):
            alive[position].append((offset, offset + t.nbytes))
    return [_covered(ranges) for ranges in alive]


def _covered(ranges: list[Span]) -> int:
    """The number of bytes in the union of ranges."""
    total = end = 0
    for start, stop in sorted(ranges):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


def _in_time(plan: PlacedGraph) -> list[Tensor]:
    """Every tensor that owns bytes; what takes over a place comes after what it replaces."""
    owners = (t for t in plan.placements if t.view_of is None)
    return sorted(owners, key=lambda t: plan.placements[t].first)


def _caption(plan: PlacedGraph) -> str:
    s = plan.subject
    size = f"{mib(plan.arena_bytes):,.1f} MiB"
    how = f"{plan.options.precision}, {plan.options.device}: memory mode {plan.options.memory}"
    return f"{s.model}, batch {s.batch}, {how}, {size}"


def _tensor(plan: PlacedGraph, t: Tensor, frame: Frame, used: Span) -> str:
    place = plan.placements[t]
    colour, hint = COLOURS[t.kind], escape(_hint(plan, t, place))
    idle = used != (place.first, place.last)
    reserved = (
        f'<rect class="tensor" {_box(frame, (place.first, place.last), place.offset, t.nbytes)} '
        f'fill="{colour}"{_opacity(idle)}{_edge(frame, t.nbytes)}>'
        f"<title>{hint}</title></rect>"
    )
    if not idle or used[0] == used[1]:
        return reserved
    left, right = frame.x(used[0]), frame.x(used[1])
    low, high = frame.y(place.offset), frame.y(place.offset + t.nbytes)
    busy = f"M{left:.1f} {low:.2f}H{right:.1f}V{high:.2f}H{left:.1f}Z"
    return f'{reserved}<path d="{busy}" fill="{colour}" pointer-events="none"/>'


def _opacity(idle: bool) -> str:
    return ' fill-opacity="0.22"' if idle else ""


def _edge(frame: Frame, nbytes: int) -> str:
    """A thin edge around what is high enough to have one."""
    thin = frame.y(0) - frame.y(nbytes) < 2
    return "" if thin else f' stroke="{BACKGROUND}" stroke-width="0.5"'


def _box(frame: Frame, span: Span, offset: int, nbytes: int) -> str:
    left, right = frame.x(span[0]), frame.x(span[1])
    low, high = frame.y(offset), frame.y(offset + nbytes)
    where = f'x="{left:.1f}" y="{high:.2f}" width="{right - left:.1f}"'
    return f'{where} height="{max(0, low - high):.2f}"'


def _hint(plan: PlacedGraph, t: Tensor, place: Placement) -> str:
    users = (op.layer for op in plan.graph.ops if t in (u.storage for u in (*op.writes, *op.reads)))
    layer = next(users, "") or "the step"
    return (
        f"{t.name} ({t.kind})\nlayer {layer}\n{t.nbytes:,} bytes at offset {place.offset:,}\n"
        f"ops [{place.first}, {place.last})"
    )


def _load_line(plan: PlacedGraph, frame: Frame, used: Mapping[Tensor, Span]) -> str:
    points = []
    for position, count in enumerate(_loads(plan, used)):
        points.append(f"{frame.x(position):.1f},{frame.y(count):.2f}")
        points.append(f"{frame.x(position + 1):.1f},{frame.y(count):.2f}")
    line = f'points="{" ".join(points)}" fill="none" pointer-events="none"'
    halo = f'<polyline {line} stroke="{BACKGROUND}" stroke-opacity="0.7" stroke-width="3.2"/>'
    return f'{halo}<polyline {line} stroke="{INK}" stroke-width="1.2"/>'


def _grid(frame: Frame) -> Iterator[str]:
    step = _tick(mib(frame.top_bytes), 6)
    for k in range(int(mib(frame.top_bytes) / step) + 1):
        y = frame.y(k * step * 2**20)
        yield f'<path d="M{LEFT} {y:.1f}H{frame.right}" stroke="{LINE}"/>'
        yield _text(LEFT - 8, y + 4, f"{k * step:,g}", "end", FAINT)


def _tick(most: float, count: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts `most` into at most `count` parts."""
    step = 1e-6
    while True:
        for factor in (1, 2, 5):
            if most / (step * factor) <= count:
                return float(f"{step * factor:g}")
        step *= 10


def _axes(plan: PlacedGraph, frame: Frame) -> Iterator[str]:
    yield f'<path d="M{LEFT} {TOP}V{frame.bottom}H{frame.right}" fill="none" stroke="{FAINT}"/>'
    yield from _positions(frame)
    middle = (TOP + frame.bottom) / 2
    turned = f' transform="rotate(-90 15 {middle:g})"'
    yield _text(15, middle, "arena, MiB", "middle", INK, turned)
    caption = _within(_caption(plan), frame.width - LEFT, CAPTION_LETTER)
    yield _text(LEFT, 22, caption, "start", INK, ' font-size="15" font-weight="600"')
    forward = sum(op.phase == "forward" for op in plan.graph.ops)
    if 0 < forward < frame.positions:
        x = frame.x(forward)
        line = f'd="M{x:.1f} {TOP - 14}V{frame.bottom}" stroke="{INK}"'
        yield f'<path {line} stroke-dasharray="4 3"/>'
        words = "backward and update →"
        if x + 6 + LETTER * len(words) <= frame.width:
            yield _text(x + 6, TOP - 5, words, "start", FAINT)
    yield _text(frame.x(forward) - 6, TOP - 5, "forward", "end", FAINT)


def _within(text: str, room: float, letter: float) -> str:
    """The text, or its beginning where it is longer than `room` pixels."""
    most = int(room / letter)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _positions(frame: Frame) -> Iterator[str]:
    step = max(1, int(_tick(frame.positions, 10)))
    for position in range(0, frame.positions + 1, step):
        x = frame.x(position)
        yield f'<path d="M{x:.1f} {frame.bottom}v4" stroke="{FAINT}"/>'
        words = f"{position}"
        x = min(x, frame.width - LETTER * len(words) / 2)
        yield _text(x, frame.bottom + 17, words, "middle", FAINT)
    centre = (LEFT + frame.right) / 2
    yield _text(centre, frame.bottom + 35, "position in the schedule (op)", "middle", INK)


def _legend_lines(plan: PlacedGraph, width: int) -> list[list[tuple[float, str]]]:
    """What stands in the legend, by line: where each begins, and its words."""
    kinds = {t.kind for t in plan.placements if t.view_of is None}
    lines: list[list[tuple[float, str]]] = [[]]
    x = float(LEFT)
    for word in (*(kind for kind in COLOURS if kind in kinds), IN_USE):
        wide = 35 + LETTER * len(word)
        if lines[-1] and x + wide > width:
            lines.append([])
            x = LEFT
        lines[-1].append((x, word))
        x += wide
    return lines


def _legend(lines: list[list[tuple[float, str]]], frame: Frame) -> Iterator[str]:
    for above, line in enumerate(reversed(lines)):
        y = frame.height - 16 - LINE_HEIGHT * above
        for x, word in line:
            if word == IN_USE:
                yield f'<path d="M{x:g} {y - 4}h18" stroke="{INK}" stroke-width="1.2"/>'
                yield _text(x + 23, y, word, "start", INK)
            else:
                colour = COLOURS[cast(Kind, word)]
                yield f'<path d="M{x:g} {y - 10}h12v12h-12z" fill="{colour}"/>'
                yield _text(x + 17, y, word.replace("_", " "), "start", INK)


def _text(x: float, y: float, text: str, anchor: str, colour: str, more: str = "") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {where}{more}>{escape(text)}</text>"
