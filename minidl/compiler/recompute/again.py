"""Run forward ops a second time in the backward pass: the rewrite, for a given choice."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from minidl.ir import Op, StepGraph, Tensor


class StaleError(Exception):
    """A recomputation would read weights or states that the step has changed by then."""


def run_again(graph: StepGraph, drop: Set[Tensor]) -> StepGraph:
    """`graph`, in its order, with the tensors of `drop` made anew for the backward pass.

    Just before the first backward op that reads a dropped tensor, the op that made it runs again
    on the same operands, or on their own second copies where those are dropped too; all backward
    ops read the copy. The same kernel on the same operands gives the same bits. StaleError where
    an operand has changed between the two.
    """
    return replace(graph, ops=tuple(_Rewriter(graph, drop).ops()))


def makers(graph: StepGraph) -> dict[Tensor, list[Op]]:
    """By what owns bytes, the forward ops that write it, or write the parts that it consists of."""
    found: dict[Tensor, list[Op]] = {}
    for op in graph.ops:
        if op.phase == "forward":
            for t in dict.fromkeys(t.storage for t in op.writes):
                found.setdefault(t, []).append(op)
    return found


class _Rewriter:
    def __init__(self, graph: StepGraph, drop: Set[Tensor]) -> None:
        self.graph, self.drop = graph, drop
        self.makers = makers(graph)
        self.copies: dict[Tensor, Tensor] = {}
        self.changed: set[Tensor] = set()
        self.found: list[Op] = []

    def ops(self) -> list[Op]:
        for op in self.graph.ops:
            if op.phase == "forward":
                self.found.append(op)
                continue
            for t in op.reads:
                if t.storage in self.drop:
                    self._make(t.storage)
            copied = any(t.storage in self.copies for t in op.reads)
            self.found.append(op.substituted(self._copy) if copied else op)
            self.changed.update(t for t in op.writes if t.persistent)
        return self.found

    def _make(self, t: Tensor) -> None:
        """Run the ops that made `t` again, after those that made its dropped operands."""
        if t in self.copies:
            return
        self._add_copy(t)
        for op in self.makers[t]:
            for operand in op.reads:
                if operand in self.changed:
                    raise StaleError(f"{op.name} reads {operand.name}, which has changed by then")
                if operand.storage in self.drop:
                    self._make(operand.storage)
            for written in op.writes:
                self._add_copy(written.storage)
            self.found.append(replace(op.substituted(self._copy), again=True))

    def _add_copy(self, t: Tensor) -> None:
        if t not in self.copies:
            self.copies[t] = replace(t, name=f"{t.name}.again")

    def _copy(self, t: Tensor) -> Tensor:
        """The copy that stands for `t`, or for what it views; `t` itself where there is none."""
        if t in self.copies or t.view_of is None or t.storage not in self.copies:
            return self.copies.get(t, t)
        self.copies[t] = replace(t, view_of=self._copy(t.view_of))
        return self.copies[t]
