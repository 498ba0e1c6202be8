"""PlacedGraph: an order for the ops of a step and an offset for every tensor. Data, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minidl.ir.graph import StepGraph
from minidl.ir.printed import never_raises
from minidl.ir.sizes import format_size
from minidl.ir.tensor import Tensor
from minidl.options import Options


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tensor lies and when."""

    offset: int
    """Byte in the arena."""
    first: int
    """Position of the first op at which its bytes hold."""
    last: int
    """Half-open: one past the last such position."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a step is of."""

    model: str
    """The network's name."""
    batch: int
    """Samples in one step."""
    image: tuple[int, ...]
    """The input's shape without the batch: height, width, channels."""


@dataclass(frozen=True, eq=False, repr=False)
class PlacedGraph:
    """One step in one arena: `graph.ops` is the order in which they run.

    The planner makes it, `minidl.placed.verify` proves it, devices bind it, the plan file holds it,
    reports draw it. Two are equal where all of that is the same, whichever tensors stand for it.
    """

    subject: Subject
    options: Options
    graph: StepGraph
    placements: Mapping[Tensor, Placement]
    """Every tensor of the step, views included."""
    arena_bytes: int
    max_load_bytes: int
    """Most bytes live at one position, each rounded up to the alignment: no placement of this
    order can need less."""
    guard: int = 0
    """Bytes kept free behind every tensor, for canaries."""
    order_lower_bound_bytes: int = 0
    """No order of these ops can need fewer bytes; equal to `max_load_bytes`: the order is
    optimal."""
    placement_lower_bound_bytes: int = 0
    """No placement of this order can need fewer bytes; above `max_load_bytes` where a search has
    proved that none reaches it."""

    @property
    def batch(self) -> int:
        return self.subject.batch

    @property
    def recompute_flops(self) -> int:
        """Floating-point operations of the ops that run a second time."""
        return sum(op.flops for op in self.graph.ops if op.phase == "recompute")

    def offset(self, tensor: Tensor) -> int:
        return self.placements[tensor].offset

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlacedGraph):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash((self.subject, self.arena_bytes, len(self.graph.ops)))

    def _content(self) -> tuple[Any, ...]:
        """All that is chosen and what it is chosen for, tensors by number: no object's identity."""
        number = {t: i for i, t in enumerate(self.placements)}
        tensors = tuple(
            (t.name, t.shape, t.dtype, t.kind, number[t.storage], t.region, place)
            for t, place in self.placements.items()
        )
        ops = tuple(
            (
                (op.name, op.layer, op.phase, op.in_place, op.flops),
                tuple(number[t] for t in op.reads),
                tuple(number[t] for t in op.writes),
            )
            for op in self.graph.ops
        )
        bounds = self.order_lower_bound_bytes, self.placement_lower_bound_bytes
        figures = self.arena_bytes, self.max_load_bytes, *bounds, self.guard
        return self.subject, self.options, figures, tensors, ops

    @never_raises
    def __repr__(self) -> str:
        """What it is of, its mode, its bytes and how near they are to the least, in one line."""
        s, bound = self.subject, max(1, self.order_lower_bound_bytes)
        gap = 100 * (self.arena_bytes / bound - 1)
        near = "optimal" if gap <= 0 else f"{gap:.2f} % above the bound"
        size = format_size(self.arena_bytes)
        return f"{s.model}, batch {s.batch}, {self.options.memory}: {size}, {near}"
