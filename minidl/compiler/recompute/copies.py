"""Run forward ops a second time in the backward pass: the rewrite, for a given choice."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace

from minidl.ir import Op, Phase, StepGraph, Tensor


class StaleError(Exception):
    """A recomputation would read weights or states that the step has changed by then."""


def run_twice(graph: StepGraph, drop: Set[Tensor], copies: Copies | None = None) -> StepGraph:
    """`graph`, in its order, with the tensors of `drop` made anew for the backward pass.

    Just before the first backward op that reads a dropped tensor, the op that made it runs again
    on the same operands, or on their own second copies where those are dropped too; all backward
    ops read the copy. The same kernel on the same operands gives the same bits. StaleError where
    an operand has changed between the two. copies: what earlier choices for this graph made.
    """
    return replace(graph, ops=tuple(_Rewriter(graph, drop, copies or Copies(graph)).ops()))


def makers(graph: StepGraph) -> dict[Tensor, list[Op]]:
    """By what owns bytes, the forward ops that write it, or write the parts that it consists of."""
    found: dict[Tensor, list[Op]] = {}
    for op in graph.ops:
        if op.phase == "forward":
            for t in dict.fromkeys(t.storage for t in op.writes):
                found.setdefault(t, []).append(op)
    return found


class Copies:
    """Second copies of a graph's tensors, and its ops on them: each is made once, however many
    choices have it."""

    def __init__(self, graph: StepGraph) -> None:
        self.makers = makers(graph)
        self.changes = {op: [t for t in op.writes if t.persistent] for op in graph.ops}
        """By op, the states and weights that it changes."""
        self._tensors: dict[Tensor, Tensor] = {}
        self._ops: dict[tuple[Op, frozenset[Tensor], bool], Op] = {}
        self._mentioned: dict[Op, frozenset[Tensor]] = {}

    def op(self, op: Op, copied: Set[Tensor], second: bool = False) -> Op:
        """`op` on the copies of `copied`; second: as one that runs a second time."""
        if op not in self._mentioned:
            self._mentioned[op] = frozenset(_mentioned(op))
        own = self._mentioned[op] & copied
        if not own and not second:
            return op
        if (op, own, second) not in self._ops:
            on_copies = op.substituted(lambda t: self._tensor(t) if t.storage in own else t)
            phase: Phase = "recompute" if second else op.phase
            self._ops[op, own, second] = replace(on_copies, phase=phase)
        return self._ops[op, own, second]

    def _tensor(self, t: Tensor) -> Tensor:
        """The copy of `t`, which is a view of a copy where `t` is a view."""
        if t not in self._tensors:
            self._tensors[t] = (
                replace(t, name=f"{t.name}.recomputed")
                if t.view_of is None
                else replace(t, view_of=self._tensor(t.view_of))
            )
        return self._tensors[t]


def _mentioned(op: Op) -> Iterator[Tensor]:
    """What owns the bytes of every tensor that an op or an op inside of it names."""
    yield from op.touched
    if op.fusion.between is not None:
        yield op.fusion.between.storage
    for inner in (op.fusion.prologue, op.fusion.epilogue, op.fusion.main):
        if inner is not None:
            yield from _mentioned(inner)


class _Rewriter:
    def __init__(self, graph: StepGraph, drop: Set[Tensor], copies: Copies) -> None:
        self.graph, self.drop, self.copies = graph, drop, copies
        self.copied: set[Tensor] = set()
        self.changed: set[Tensor] = set()
        self.found: list[Op] = []

    def ops(self) -> list[Op]:
        for op in self.graph.ops:
            if op.phase == "forward":
                self.found.append(op)
                continue
            for t in op.touched:
                if t in self.drop:
                    self._make(t)
            on_copies = not self.copied.isdisjoint(op.touched)
            self.found.append(self.copies.op(op, self.copied) if on_copies else op)
            self.changed.update(self.copies.changes[op])
        return self.found

    def _make(self, t: Tensor) -> None:
        """Run the ops that made `t` again, after those that made its dropped operands."""
        if t in self.copied:
            return
        self.copied.add(t)
        for op in self.copies.makers[t]:
            for operand in op.reads:
                if operand in self.changed:
                    raise StaleError(f"{op.name} reads {operand.name}, which has changed by then")
                if operand.storage in self.drop:
                    self._make(operand.storage)
            self.copied.update(written.storage for written in op.writes)
            self.found.append(self.copies.op(op, self.copied, second=True))
