"""From the sites of a forward walk to the ops of one training step."""

from __future__ import annotations

from dataclasses import replace

from minidl.ir import Contract, Lowering, Op, Site, StepGraph, Tensor
from minidl.ops.sums import gradient_sum


class Gradients:
    """Every gradient of the step by its forward tensor, while the sites are walked backwards."""

    def __init__(self) -> None:
        self.contributions: dict[Tensor, list[Tensor]] = {}
        self.forward_of: dict[Tensor, Tensor] = {}
        self._actual: dict[Tensor, Tensor] = {}

    def arrive(self, site: Site) -> tuple[list[Op], bool]:
        """Settle what arrives at the site's outputs; the sums it takes, and whether any does."""
        sums, arrived = [], False
        for y in site.made:
            if y in self.contributions:
                sums += self.total(y, site.name)
                self._actual[site.gradient(y)] = self.contributions[y][0]
                arrived = True
        return sums, arrived

    def contribute(self, site: Site) -> None:
        """Record the site's contributions to what it read."""
        for t, gradient in site.gradients.items():
            if t not in site.made:
                self.contributions.setdefault(t, []).append(self.actual(gradient))
                self.forward_of[self.actual(gradient)] = t

    def total(self, t: Tensor, layer: str) -> list[Op]:
        """Leave one contribution to `t`, the sum of all; the op that makes it, if one must."""
        parts = self.contributions[t]
        if len(parts) == 1:
            return []
        total = replace(parts[0], name=f"d:{t.name}.sum", view_of=None)
        self.contributions[t] = [total]
        self.forward_of[total] = t
        op = Op(
            gradient_sum,
            layer,
            "dgrad" if t.kind != "parameter" else "wgrad",
            (total,),
            tuple(parts),
            in_place=((0, 0), (0, 1)),
            flops=total.size * (len(parts) - 1),
            contract=Contract(elementwise=True, strided=True),
        )
        return [op]

    def actual(self, t: Tensor) -> Tensor:
        """What a layer's name for a gradient stands for, views of it included."""
        if t in self._actual:
            return self._actual[t]
        if t.view_of is not None and self.actual(t.view_of) is not t.view_of:
            self._actual[t] = replace(t, view_of=self.actual(t.view_of).storage)
            return self._actual[t]
        return t


def differentiate(lowering: Lowering, loss: Tensor) -> tuple[list[Op], Gradients]:
    """Every backward op, last layer first, whether or not it is needed, and the gradients.

    A tensor read several times gets its gradients summed in the order of the backward walk.
    """
    gradients, ops = Gradients(), []
    for site in reversed(lowering.sites):
        sums, arrived = gradients.arrive(site)
        if not arrived and loss not in site.made:
            continue
        ops += sums
        ops += [op.substituted(gradients.actual) for op in site.backward_ops]
        gradients.contribute(site)
    return ops, gradients


def without_dead_ops(graph: StepGraph) -> StepGraph:
    """Drop every op of which nothing is ever read: the data gradient into the images first."""
    needed = {t.storage for t in graph.outputs}
    kept: list[Op] = []
    for op in reversed(graph.ops):
        effects = [t for t in op.writes if t.kind != "scratch"]
        if any(t.storage in needed or t.persistent for t in effects):
            kept.append(op)
            needed.update(t.storage for t in op.reads)
    return replace(graph, ops=tuple(reversed(kept)))
