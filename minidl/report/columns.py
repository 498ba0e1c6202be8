"""A summary in columns: as text and for a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from minidl.ir.sizes import format_size
from minidl.ir.tensor import Shape


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer at one place of the network; its slices of the batch together."""

    name: str
    kind: str
    """The layer's class; empty for what joins slices of the batch."""
    shape: Shape
    """Of the output, with the batch: (N, H, W, C), (N, features), or () of a loss."""
    parameters: int
    """Elements; those of a layer that is used again count where it is used first."""
    flops: int
    """Floating-point operations of forward for the whole batch; a multiply-add is two."""
    stash: int
    """Bytes written before the backward pass and read in it: packed masks count as packed, what
    runs again or has no buffer does not."""
    notes: tuple[str, ...]
    """What the plan did with the layer, in a few words each."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Of the whole step. FLOP for the whole batch, sizes in bytes."""

    parameters: int
    """Elements of all weights."""
    forward_flops: int
    step_flops: int
    """Forward, backward and updates, with what runs again."""
    recompute_flops: int
    """Of the forward ops that run again in the backward pass."""
    stash: int
    weights: int
    state: int
    """Of everything else that steps keep: optimizer state, running statistics, counters."""
    inputs: int
    arena: int
    naive: int | None
    """Of the arena in memory mode naive; None where it was not planned."""


@dataclass(frozen=True, repr=False)
class Summary:
    """A table when printed, or as the last line of a notebook's cell."""

    title: str
    rows: tuple[LayerRow, ...]
    """In the order of the network; the loss is the last."""
    totals: Totals

    def text(self, width: int = 120) -> str:
        """The table in lines of at most `width` characters, where names and figures leave room."""
        return summary_text(self, width)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return summary_html(self)


HEAD = ("layer", "kind", "output", "parameters", "FLOP", "stash", "in the plan")
RIGHT = (3, 4, 5)
"""Columns of figures."""
LONGEST = 30
"""Characters of a layer's name; of a longer one the end is shown."""
NOTES = 28
"""Least characters of the last column."""
GAP = "  "


def summary_text(summary: Summary, width: int) -> str:
    """A line a layer, more where its notes are long, and the totals below."""
    table = [HEAD, *map(_cells, summary.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    others = sum(widths[1:]) + len(GAP) * len(widths)
    widths[0] = min(widths[0], LONGEST, max(len(HEAD[0]), width - others - NOTES))
    room = max(NOTES, width - others - widths[0])
    head, *body = (line for cells in table for line in _lines(cells, widths, room))
    rule = "-" * max(map(len, (head, *body)))
    return "\n".join((summary.title, head, rule, *body, rule, *_totals(summary.totals)))


def summary_html(summary: Summary) -> str:
    """The same as a table of HTML: no script."""
    head = _html_cells("th", HEAD)
    rows = "".join(f"<tr>{_html_cells('td', _cells(row))}</tr>" for row in summary.rows)
    more = "<br/>".join(map(escape, _totals(summary.totals)))
    title = f"<p>{escape(summary.title)}</p>"
    table = f"<div style='overflow-x:auto'><table><tr>{head}</tr>{rows}</table></div>"
    return f"<div>{title}{table}<p>{more}</p></div>"


def _html_cells(tag: str, cells: tuple[str, ...]) -> str:
    notes = len(cells) - 1
    return "".join(
        cell(tag, words, "right" if k in RIGHT else "left", wraps=k == notes)
        for k, words in enumerate(cells)
    )


def cell(tag: str, words: str, side: str = "left", wraps: bool = True) -> str:
    """A cell of a notebook's table: headings as their columns; a figure stays with its unit."""
    more = "" if wraps and side == "left" else ";white-space:nowrap"
    return f"<{tag} style='padding:2px 8px;text-align:{side}{more}'>{escape(words)}</{tag}>"


def _cells(row: LayerRow) -> tuple[str, ...]:
    """What stands in the columns."""
    return (
        row.name,
        row.kind,
        "x".join(map(str, row.shape)) or "scalar",
        f"{row.parameters:,}" if row.parameters else "-",
        format_count(row.flops) if row.flops else "-",
        format_size(row.stash) if row.stash else "-",
        "; ".join(row.notes),
    )


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else "..." + name[3 - longest :]


def _lines(cells: tuple[str, ...], widths: list[int], room: int) -> Iterator[str]:
    """One row: its notes go on in lines of their own where there is no room."""
    shown = (_short(cells[0], widths[0]), *cells[1:-1])
    padded = (
        cell.rjust(w) if k in RIGHT else cell.ljust(w)
        for k, (cell, w) in enumerate(zip(shown, widths, strict=True))
    )
    left = GAP.join(padded)
    first, *more = textwrap.wrap(cells[-1], room) or [""]
    yield f"{left}{GAP}{first}".rstrip()
    for line in more:
        yield f"{'':{len(left)}}{GAP}{line}"


def _totals(t: Totals) -> list[str]:
    work = t.recompute_flops
    twice = f", {format_count(work)}FLOP of it run again" if work else ""
    naive = f", {format_size(t.naive)} in memory mode naive" if t.naive is not None else ""
    return [
        f"parameters {t.parameters:,}; forward {format_count(t.forward_flops)}FLOP, "
        f"a step {format_count(t.step_flops)}FLOP{twice}",
        f"stash {format_size(t.stash)}, weights {format_size(t.weights)}, "
        f"optimizer and other state {format_size(t.state)}, inputs {format_size(t.inputs)}",
        f"arena {format_size(t.arena)}{naive}",
    ]


def format_count(count: int) -> str:
    """Four figures or fewer and the power of 1000: `512 `, `1.50 K`, `473.5 M`, `1.98 T`."""
    value, unit = float(count), ""
    for letter in "KMGTP":
        if value < 999.95:
            break
        value, unit = value / 1000, letter
    if not unit:
        return f"{count} "
    return f"{value:.2f} {unit}" if value < 100 else f"{value:.1f} {unit}"
