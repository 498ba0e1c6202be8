"""What `debug=True` adds: NaN in every dead byte, canaries between tensors, checks of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from minidl.ir import ArgumentError, Array, PlanError, Tensor
from minidl.ops.host import CHUNK, blocks
from minidl.placed.graph import PlacedGraph
from minidl.runtime.arena import Arena

GUARD = 256
"""Bytes of canary behind each tensor."""
CANARY = 0xA5
POISON = 0xFF
"""All bits set is NaN in float32 and float64, and -1 in every integer."""


Checks = Mapping[Tensor, Callable[[Array], None]]
"""ArgumentError for values that an op has no meaning for, where it would read them."""


class Guards:
    """Checks around each op that nothing reads or writes what the plan did not give it, and that
    it reads no values that are checked and wrong."""

    def __init__(self, plan: PlacedGraph, arena: Arena, checks: Checks) -> None:
        self.plan, self.arena, self.checks = plan, arena, checks
        self.owners = [t for t in plan.placements if t.view_of is None]
        self.dying: dict[int, list[Tensor]] = {}
        self.born: dict[int, list[Tensor]] = {}
        for t in self.owners:
            place = plan.placements[t]
            self.dying.setdefault(place.last - 1, []).append(t)
            if t.persistent:
                self._set_canary(t)
            else:
                self.born.setdefault(place.first, []).append(t)

    def before(self, i: int) -> None:
        """Poison what op i is about to write, and set the canaries behind it."""
        op = self.plan.graph.ops[i]
        for t in self.checks.keys() & {r.storage for r in op.reads}:
            try:
                self.checks[t](self.arena.read(self.plan, t))
            except ArgumentError as error:
                raise error.at(f"op {i} {op.name} reads {t.name}") from None
        over = {self.plan.offset(op.reads[j]) for _, j in op.in_place}
        for t in self.born.get(i, ()):
            if not t.given and self.plan.offset(t) not in over:
                self._poison(t)
            self._set_canary(t)

    def after(self, i: int) -> None:
        """Every canary of op i's tensors holds; what died is poisoned."""
        op = self.plan.graph.ops[i]
        for t in dict.fromkeys(t.storage for t in (*op.writes, *op.reads)):
            if t in self.plan.placements and np.any(self._canary(t) != CANARY):
                raise PlanError(f"op {i} {op.name} wrote behind the end of {t.name}")
        for t in self.dying.get(i, ()):
            if not t.persistent and not self._overwritten(t, i):
                self._poison(t)

    def _overwritten(self, t: Tensor, i: int) -> bool:
        """Whether a tensor that lives on after op i has t's place."""
        offset = self.plan.offset(t)
        return any(self.plan.offset(w) == offset for w in self.plan.graph.ops[i].writes) or (
            i == len(self.plan.graph.ops) - 1
        )

    def _poison(self, t: Tensor) -> None:
        self.arena.device.fill(self.arena.bytes, self.plan.offset(t), t.nbytes, POISON)

    def _set_canary(self, t: Tensor) -> None:
        end = self.plan.offset(t) + t.nbytes
        self.arena.device.fill(self.arena.bytes, end, self.plan.guard, CANARY)

    def _canary(self, t: Tensor) -> Array:
        end = self.plan.offset(t) + t.nbytes
        return self.arena.device.read(self.arena.bytes, end, self.plan.guard)


def first_not_finite(array: Array) -> int | None:
    """The flat index of the first NaN or infinity, found without a temporary of size."""
    if not np.issubdtype(array.dtype, np.floating):
        return None
    flat = array.reshape(-1)
    for part in blocks(flat.size, CHUNK):
        bad = ~np.isfinite(flat[part])
        if bad.any():
            return int(part.start) + int(bad.argmax())
    return None
