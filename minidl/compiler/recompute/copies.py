"""Run forward ops a second time in the backward pass: the rewrite, for a given choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import replace
from heapq import heapify, heappop, heappush

from minidl.compiler.recompute.units import Unit, units
from minidl.ir import Op, Phase, StepGraph, Tensor, dependencies, followers


class StaleError(Exception):
    """A recomputation would read weights or states that the step has changed by then."""


def run_twice(graph: StepGraph, drop: Set[Tensor]) -> StepGraph:
    """`graph`, in its order, with the tensors of `drop` made anew for the backward pass.

    Just before the first backward op that reads a dropped tensor, the ops that made it run again,
    with all that they write, on the same operands, or on their own second copies where those are
    dropped too; all backward ops read the copy. Ops that run again before one op keep their order.
    The same kernel on the same operands gives the same bits. StaleError where an operand has
    changed between the two.
    """
    return replace(graph, ops=tuple(op for op, _ in _Rewriter(graph, drop).ops()))


def in_order_of(
    graph: StepGraph, drop: Set[Tensor], order: Callable[[StepGraph], StepGraph]
) -> StepGraph:
    """`graph` in the order that its ops have once `order` has put those of `run_twice` in one."""
    pairs = list(_Rewriter(graph, drop).ops())
    ordered = order(replace(graph, ops=tuple(op for op, _ in pairs)))
    rank = {op: i for i, op in enumerate(ordered.ops)}
    place = {own: rank[op] for op, own in pairs if op.phase != "recompute"}
    return replace(graph, ops=tuple(by_place(graph.ops, place)))


def by_place(ops: tuple[Op, ...], place: Mapping[Op, int]) -> Iterator[Op]:
    """`ops` by place, each after all that it must follow: reads of copies leave that open."""
    before = dependencies(ops)
    after = followers(before)
    missing = [len(js) for js in before]
    ready = [(place[op], i) for i, op in enumerate(ops) if not missing[i]]
    heapify(ready)
    while ready:
        _, i = heappop(ready)
        yield ops[i]
        for k in after[i]:
            missing[k] -= 1
            if not missing[k]:
                heappush(ready, (place[ops[k]], k))


class _Rewriter:
    def __init__(self, graph: StepGraph, drop: Set[Tensor]) -> None:
        self.graph = graph
        self.dropped = {
            t: unit
            for unit in units(graph)
            if not drop.isdisjoint(unit.writes)
            for t in unit.writes
        }
        self.place = {op: i for i, op in enumerate(graph.ops)}
        self.copies: dict[Tensor, Tensor] = {}
        self.copied: set[Tensor] = set()
        self.changed: set[Tensor] = set()

    def ops(self) -> Iterator[tuple[Op, Op]]:
        """Every op, and the op of the graph that it is."""
        for op in self.graph.ops:
            if op.phase == "forward":
                yield op, op
                continue
            second = [one for unit in self._needed(op.touched) for one in unit.ops]
            for one in sorted(second, key=self.place.__getitem__):
                self._require_unchanged(one)
                yield self._on_copies(one, "recompute"), one
            yield self._on_copies(op, op.phase), op
            self.changed.update(t for t in op.writes if t.persistent)

    def _needed(self, tensors: tuple[Tensor, ...]) -> list[Unit]:
        """The units that have to run again, and have not yet, before `tensors` can be touched."""
        found: list[Unit] = []
        waiting = list(tensors)
        while waiting:
            t = waiting.pop()
            if t in self.dropped and t not in self.copied:
                unit = self.dropped[t]
                self.copied.update(unit.writes)
                waiting.extend(unit.reads)
                found.append(unit)
        return found

    def _require_unchanged(self, op: Op) -> None:
        for t in op.reads:
            if t in self.changed:
                raise StaleError(f"{op.name} reads {t.name}, which has changed by then")

    def _on_copies(self, op: Op, phase: Phase) -> Op:
        """`op` on the copies that there are."""
        own = self.copied.intersection(_mentioned(op))
        if not own and phase == op.phase:
            return op
        return replace(
            op.substituted(lambda t: self._copy(t) if t.storage in own else t), phase=phase
        )

    def _copy(self, t: Tensor) -> Tensor:
        """The copy of `t`, which is a view of a copy where `t` is a view."""
        if t not in self.copies:
            self.copies[t] = (
                replace(t, name=f"{t.name}.recomputed")
                if t.view_of is None
                else replace(t, view_of=self._copy(t.view_of))
            )
        return self.copies[t]


def _mentioned(op: Op) -> Iterator[Tensor]:
    """What owns the bytes of every tensor that an op or an op inside of it names."""
    yield from op.touched
    if op.fusion.between is not None:
        yield op.fusion.between.storage
    for inner in (op.fusion.prologue, op.fusion.epilogue, op.fusion.main):
        if inner is not None:
            yield from _mentioned(inner)
