"""Curve: the plans that spend more work for fewer bytes, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from minidl.ir.sizes import format_size
from minidl.placed.graph import PlacedGraph
from minidl.report.svg import FAINT, INK, LINE, Frame


@dataclass(frozen=True)
class Curve:
    """Plans of one step, each proven: from the least work to the fewest bytes.

    No plan of the curve beats another in both. Printed it is a table.
    """

    plans: tuple[PlacedGraph, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Of each plan `arena_bytes`, `order_lower_bound_bytes`, `recompute_flops`, the `share` of
        the step's operations that those are, and the `recompute` that allows it."""
        for plan in self.plans:
            yield {
                "recompute": plan.options.recompute,
                "share": share(plan),
                "recompute_flops": plan.recompute_flops,
                "arena_bytes": plan.arena_bytes,
                "order_lower_bound_bytes": plan.order_lower_bound_bytes,
            }

    def table(self) -> str:
        """A line a plan: bytes, work, and what was asked for to have it."""
        most = max(plan.arena_bytes for plan in self.plans)
        lines = [f"  {'arena':>12} {'of most':>8} {'more work':>10}  with"]
        for row in self.rows():
            size, part = format_size(row["arena_bytes"]), 100 * row["arena_bytes"] / most
            asked = "by default" if row["recompute"] is None else f"recompute={row['recompute']:g}"
            lines.append(f"  {size:>12} {part:>6.1f} % {100 * row['share']:>8.2f} %  {asked}")
        return "\n".join(lines)

    __str__ = table

    def to_html(self) -> str:
        """A section of a page: drawing and table."""
        drawn, told = curve_svg(self.plans), escape(self.table())
        return f"<section><h2>bytes against work</h2>{drawn}<pre>{told}</pre></section>"


def share(plan: PlacedGraph) -> float:
    """Operations done a second time, of those of the step without them."""
    return plan.recompute_flops / max(1, plan.graph.flops - plan.recompute_flops)


def curve_svg(plans: Sequence[PlacedGraph], width: int = 640, height: int = 320) -> str:
    """A self-contained SVG: share of work across, bytes of the arena up, a dot a plan."""
    shares = [share(plan) for plan in plans]
    most = max(plan.arena_bytes for plan in plans)
    frame = Frame(width, height, 1, most)
    across = max(shares) or 1.0
    dots = [
        (frame.x(part / across), frame.y(plan.arena_bytes), plan)
        for part, plan in zip(shares, plans, strict=True)
    ]
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in dots)
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{INK}"><title>'
        f"{format_size(plan.arena_bytes)}, {100 * share(plan):.2f} % more work</title></circle>"
        for x, y, plan in dots
    )
    base, end = frame.bottom, frame.right
    words = (
        f'<text x="{end}" y="{base + 20}" text-anchor="end">{100 * across:.1f} % more work</text>'
        f'<text x="{frame.x(0)}" y="{base + 20}">0 %</text>'
        f'<text x="4" y="{frame.y(most) - 8:.1f}">{format_size(most)}</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" font-family="sans-serif" font-size="12" fill="{FAINT}">'
        f'<path d="M{frame.x(0)},{frame.y(most)} V{base} H{end}" fill="none" stroke="{LINE}"/>'
        f'<polyline points="{steps}" fill="none" stroke="{INK}"/>{marks}{words}</svg>'
    )
