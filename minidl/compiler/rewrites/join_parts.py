"""Inputs of a concatenation written straight into the joined tensor's bytes: no copy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from minidl.ir import Op, StepGraph, Tensor, part_of


def join_parts(graph: StepGraph) -> StepGraph:
    """Let the tensors that an op joins be parts of its output, and those that an op splits off be
    parts of its input: the op is gone.

    A tensor becomes a part only if every op that touches it takes operands whose elements lie
    apart, or if the part is contiguous; inputs of the step and outputs stay as they are.
    """
    uses: dict[Tensor, list[Op]] = {}
    for op in graph.ops:
        for t in op.touched:
            uses.setdefault(t, []).append(op)
    joins = _Joins(uses, {t.storage for t in (*graph.inputs, *graph.outputs)})
    kept = [op for op in graph.ops if op.contract.joins is None or not joins.take(op)]
    if len(kept) == len(graph.ops):
        return graph
    gradient_of = {joins.now(g): joins.now(t) for g, t in graph.gradient_of.items()}
    ops = tuple(op.substituted(joins.now) for op in kept)
    return replace(graph, ops=ops, gradient_of=gradient_of)


class _Joins:
    """What has become a part of what."""

    def __init__(self, uses: dict[Tensor, list[Op]], fixed: set[Tensor]) -> None:
        self.uses, self.fixed = uses, fixed
        self.part: dict[Tensor, Tensor] = {}
        """By storage: a part of another storage, which may be a part itself by now."""
        self.known: dict[Tensor, Tensor] = {}

    def take(self, op: Op) -> bool:
        """Make the small operands of `op` parts of the large one, if all of them allow it."""
        joined = op.phase == "forward"
        (whole,), pieces = (op.writes, op.reads) if joined else (op.reads, op.writes)
        if op.contract.joins is None or not _keeps_axes(whole):
            return False
        parts = list(_cut(whole, op.contract.joins, pieces))
        if not all(self._may(t, part, op) for t, part in zip(pieces, parts, strict=True)):
            return False
        self.part.update(zip(pieces, parts, strict=True))
        for t in pieces:
            self.uses[whole.storage] += self.uses[t]
        return True

    def _may(self, t: Tensor, part: Tensor, op: Op) -> bool:
        free = t.whole and t.view_of is None and not t.given
        if not free or t in self.fixed or t in self.part:
            return False
        return part.contiguous or all(user is op or _takes_gaps(user, t) for user in self.uses[t])

    def now(self, t: Tensor) -> Tensor:
        """What stands for `t`: itself, or a part, or the same view of a part."""
        if t not in self.known:
            if t in self.part:
                inner = self.part[t]
                self.known[t] = replace(inner, view_of=inner.view_of and self.now(inner.view_of))
            elif t.view_of is not None and self.now(t.view_of) is not t.view_of:
                self.known[t] = replace(t, view_of=self.now(t.view_of))
            else:
                self.known[t] = t
        return self.known[t]


def _keeps_axes(t: Tensor) -> bool:
    """Whether its axes are those of the storage that it views."""
    while t.view_of is not None:
        if t.box is None and t.shape != t.view_of.shape:
            return False
        t = t.view_of
    return True


def _takes_gaps(op: Op, t: Tensor) -> bool:
    """Whether `op` works on `t`, in t's own shape, when its pixels lie apart."""
    own = (x for x in (*op.reads, *op.writes) if x.storage is t)
    return op.contract.strided and all(x.shape == t.shape for x in own)


def _cut(whole: Tensor, axis: int, pieces: tuple[Tensor, ...]) -> Iterable[Tensor]:
    """The parts of `whole` along `axis` that `pieces` are, in order."""
    axis, low = axis % len(whole.shape), 0
    for t in pieces:
        yield part_of(whole, axis, low, low + t.shape[axis], t.name)
        low += t.shape[axis]
