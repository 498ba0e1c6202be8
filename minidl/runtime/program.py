"""Program: a plan bound to an arena. Running it decides nothing and allocates nothing of size."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np

from minidl.ir import NotFiniteError, Op
from minidl.placed.graph import PlacedGraph
from minidl.runtime.arena import Arena
from minidl.runtime.debug import Checks, Guards, first_not_finite

Observer = Callable[[int, Op], None]


class Program:
    """The calls of a plan, made once with constant addresses."""

    def __init__(
        self,
        plan: PlacedGraph,
        arena: Arena,
        debug: bool = False,
        checks: Checks = MappingProxyType({}),
    ) -> None:
        self.plan = plan
        self.arena = arena
        used = (t for op in plan.graph.ops for t in (*op.writes, *op.reads))
        shown = (*plan.graph.inputs, *plan.graph.outputs, *(v.tensor for v in plan.graph.variables))
        tensors = dict.fromkeys((*used, *shown))
        self.arrays = {
            t: arena.view(plan, t) for t in tensors if t in plan.placements and arena.device.on_host
        }
        """Views of the tensors, where the device is the host."""
        self.calls = arena.device.bind(plan, arena.bytes, self.arrays)
        self._whole: Callable[[], None] | None = None
        self.guards = Guards(plan, arena, checks) if debug else None

    def run(self, observe: Observer | None = None) -> None:
        """One pass over all ops; `observe(index, op)` is called after each. What overflows is
        infinite, as on a GPU, and no warning: who looks for it finds the step and the op."""
        device = self.arena.device
        with device.running(), np.errstate(all="ignore"):
            if observe is None and self.guards is None:
                if self._whole is None:
                    self._whole = device.whole(self.calls)
                self._whole()
                return
            for i, op in enumerate(self.plan.graph.ops):
                if self.guards is not None:
                    self.guards.before(i)
                self.calls[i]()
                device.synchronize()
                if self.guards is not None:
                    self.guards.after(i)
                if observe is not None:
                    observe(i, op)

    def require_finite(self, i: int, op: Op) -> None:
        """An observer: NotFiniteError at the first op that writes a NaN or an infinity."""
        for t in op.writes:
            if t.kind == "scratch":
                continue
            values = self.arena.read(self.plan, t)
            if (where := first_not_finite(values)) is not None:
                raise NotFiniteError(
                    f"op {i} {op.name} wrote {values.flat[where]} to {t.name} at element "
                    f"{where} of shape {t.shape}",
                    "lower the learning rate, or check the input's scale",
                )
