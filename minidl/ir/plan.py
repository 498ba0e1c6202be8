"""Plan: an order for the ops and an offset for every tensor. Data: saved, drawn, checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.ir.card import Card
from minidl.ir.errors import ArgumentError, BudgetError
from minidl.ir.graph import StepGraph
from minidl.ir.largest import largest_fitting
from minidl.ir.plan_file import plan_to_dict
from minidl.ir.report.table import plan_table
from minidl.ir.sizes import parse_size
from minidl.ir.tensor import Tensor

if TYPE_CHECKING:
    from minidl.ir.report.summary import Summary

ALIGNMENT = 256
"""Bytes. What CUDA's own allocator gives; vector loads and tensor maps need 16."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tensor lies and when."""

    offset: int
    """Byte in the arena."""
    first: int
    """Position of the first op at which its bytes hold."""
    last: int
    """Half-open: one past the last such position."""


@dataclass(frozen=True)
class Setting:
    """What a plan was made for."""

    model: str
    batch: int
    image: tuple[int, ...]
    """The input's shape without the batch: height, width, channels."""
    precision: str
    device: str
    memory: str
    alignment: int = ALIGNMENT
    without: tuple[str, ...] = ()
    """Names of passes that were switched off."""
    recompute: float | None = None
    """Share of the step's floating-point operations that may be spent on running forward ops
    again; None: only ops as cheap as an elementwise pass do."""
    budget: int | None = None
    """Bytes that the arena must fit in, at the least extra work."""
    slices: int = 1
    """Parts of the batch that the network's first layers run on one after the other."""
    prefetch: bool = False
    """Whether the next batch has bytes of its own, to arrive while a step runs."""
    clip_norm: float | None = None
    """What the norm of all weight gradients together is clipped to."""
    accumulate: int = 1
    """Calls of the step that make one update."""
    card: Card | None = None
    """The GPU that it was planned for."""


@dataclass(frozen=True)
class Plan:
    """One training step in one arena: `graph.ops` is the order in which they run."""

    setting: Setting
    graph: StepGraph
    placements: Mapping[Tensor, Placement]
    """Every tensor of the step, views included."""
    arena_bytes: int
    max_load_bytes: int
    """Most bytes live at one position, each rounded up to the alignment: no placement of this
    order can need less."""
    modes: Mapping[str, int] = field(default_factory=dict)
    """Arena bytes of the same step in every memory mode."""
    guard: int = 0
    """Bytes kept free behind every tensor, for canaries."""

    order_lower_bound_bytes: int = 0
    """No order of these ops can need fewer bytes; equal to `max_load_bytes`: the order is
    optimal."""
    at_batch: Callable[..., Plan] | None = field(default=None, repr=False, compare=False)
    """The plan of the same step for another batch, and other fields of `Setting` by name."""

    @property
    def recompute_flops(self) -> int:
        """Floating-point operations of the ops that run a second time."""
        return sum(op.flops for op in self.graph.ops if op.again)

    @cached_property
    def bytes_without(self) -> dict[str, int]:
        """Arena bytes of the same step without `clip_norm` and without `accumulate`, of those in
        use; planned when first asked for."""
        s, plain = self.setting, {"clip_norm": None, "accumulate": 1}
        used = {name: none for name, none in plain.items() if getattr(s, name) != none}
        if self.at_batch is None:
            return {}
        return {
            name: self.at_batch(s.batch, **{name: none}).arena_bytes for name, none in used.items()
        }

    def largest_batch(self, memory: int | str | None = None) -> int:
        """The largest batch whose arena fits into `memory` bytes, say "12GiB"; 0 if none does.

        memory: what the plan's card leaves free where nothing is said. The same network and
        settings are planned at several batches; no device is touched.
        """
        limit = self._free() if memory is None else parse_size(memory)
        if self.at_batch is None:
            raise ArgumentError("this plan knows no network: make it with dl.plan")
        again = self.at_batch

        def needs(batch: int) -> int:
            try:
                return again(batch).arena_bytes
            except BudgetError as error:  # within `memory` perhaps, and not within the budget
                return max(error.needed, limit + 1)

        return largest_fitting(needs, limit, self.setting.batch)

    def _free(self) -> int:
        if self.setting.card is None:
            raise ArgumentError("largest_batch of a plan for the cpu needs the memory: '12GiB'")
        return self.setting.card.free

    def offset(self, tensor: Tensor) -> int:
        return self.placements[tensor].offset

    def to_dict(self) -> dict[str, Any]:
        """The plan file's content; see docs/plan_file.md."""
        return plan_to_dict(self)

    def to_json(self) -> str:
        """The plan file, as text."""
        return json.dumps(self.to_dict(), indent=1)

    def __str__(self) -> str:
        return plan_table(self)

    def explain(self) -> str:
        """What was chosen, layer by layer, in plain words."""
        from minidl.ir.report.explain import explain_text

        return explain_text(self)

    def summary(self) -> Summary:
        """Layer by layer: output shape, parameters, FLOP, stash and what became of it. Printed it
        is a table; `rows` and `totals` are its figures."""
        from minidl.ir.report.summary import summarize

        return summarize(self)

    def to_html(self) -> str:
        """One self-contained page: the arena over time, the peak and its causes, every choice."""
        from minidl.ir.report.page import plan_page

        return plan_page(self)

    def _repr_html_(self) -> str:
        from minidl.ir.report.page import notebook

        return notebook(self)

    def to_png(self, path: str | Path) -> None:
        """Draw the arena over time; needs the extra `minidl[plot]`."""
        from minidl.ir.report.png import write_png

        write_png(self, path)

    def to_snapshot(self, path: str | Path) -> None:
        """Write a file that PyTorch's memory viewer opens: pytorch.org/memory_viz."""
        from minidl.ir.report.snapshot import write_snapshot

        write_snapshot(self, path)
