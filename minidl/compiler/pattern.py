"""What one plan chose, for the same step at another batch, with other kernels or another dtype."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from minidl.compiler.recompute.copies import StaleError, by_place, run_twice
from minidl.ir import Op, StepGraph, Tensor

SUFFIX = ".recomputed"
"""Of the names of ops that run again."""

Key = tuple[str, str, int]
"""An op's name and phase, and how many others of both came before it."""


@dataclass(frozen=True)
class Pattern:
    """The order of the ops of a plan, and which ran again; by name, so that another graph may have
    some that it has not."""

    place: Mapping[Key, int]
    recomputed: Mapping[str, int]
    """By name of a forward op, how many of that name run again: with slices there are several."""

    @staticmethod
    def of(graph: StepGraph) -> Pattern:
        ops = graph.ops
        names = (op.name.removesuffix(SUFFIX) for op in ops if op.phase == "recompute")
        return Pattern({key: i for i, (key, _) in enumerate(_keys(ops))}, Counter(names))

    def on(self, graph: StepGraph) -> StepGraph:
        """`graph` with these ops run again and in this order, as far as it has them; what it has
        beside them follows what it follows there."""
        with suppress(StaleError):
            graph = run_twice(graph, self._dropped(graph))
        place, now = {}, 0
        for key, op in _keys(graph.ops):
            now = place[op] = self.place.get(key, now)
        return replace(graph, ops=tuple(by_place(graph.ops, place)))

    def _dropped(self, graph: StepGraph) -> set[Tensor]:
        return {
            t.storage
            for (name, phase, before), op in _keys(graph.ops)
            if phase == "forward" and before < self.recomputed.get(name, 0)
            for t in op.writes
        }


def _keys(ops: tuple[Op, ...]) -> Iterator[tuple[Key, Op]]:
    seen: Counter[tuple[str, str]] = Counter()
    for op in ops:
        kind = op.name, op.phase
        yield (*kind, seen[kind]), op
        seen[kind] += 1
