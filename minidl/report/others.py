"""Others: what the same step needs in other ways, which a report is told and cannot find out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from minidl.ir.sizes import format_size
from minidl.placed.graph import PlacedGraph


@dataclass(frozen=True, slots=True)
class ModeRow:
    """A memory mode in a report."""

    name: str
    idea: str
    """What it adds, in a few words."""
    arena_bytes: int
    chosen: bool = False
    """Whether it is the plan's own."""


@dataclass(frozen=True, slots=True)
class Others:
    """Figures of other plans of the same step."""

    modes: tuple[ModeRow, ...] = ()
    """In the order in which a table shows them."""
    without: Mapping[str, int] = field(default_factory=dict)
    """Arena bytes without `clip_norm` and without `accumulate`, of those in use."""

    def bytes_in(self, mode: str) -> int | None:
        """Arena bytes in a memory mode; None where it was not planned."""
        return next((row.arena_bytes for row in self.modes if row.name == mode), None)

    def shares(self) -> Iterator[tuple[ModeRow, str]]:
        """Each mode, and its share of `caffe`."""
        caffe = self.bytes_in("caffe")
        for row in self.modes:
            yield row, f"{100 * row.arena_bytes / caffe:.1f} %" if caffe else ""

    def compared(self, plan: PlacedGraph, words: str, option: str) -> str:
        """`: arena 5 MiB, without clipping 4 MiB`, or nothing where it was not planned."""
        if option not in self.without:
            return ""
        here, there = format_size(plan.arena_bytes), format_size(self.without[option])
        return f": arena {here}, {words} {there}"
