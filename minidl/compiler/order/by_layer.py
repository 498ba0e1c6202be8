"""Orders that are chosen layer by layer, among a layer's backward ops and updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from heapq import heappop, heappush
from itertools import groupby

from minidl.ir import Op, StepGraph, Tensor, dependencies, followers

ONE_BY_ONE = ("forward", "recompute")
"""Phases whose ops are no group, each stays where it is."""

LARGEST_SEARCH = 10
"""Ops of one layer's backward pass up to which every order is considered: 2^n states."""


def order_by_size(graph: StepGraph) -> StepGraph:
    """The order of Fujitsu's method, layer by layer: wgrad first where the data gradient is the
    larger buffer (dX then overwrites X), dgrad first where the weight gradient is."""

    def ordered(ops: list[Op]) -> list[Op]:
        data = max((_written(op) for op in ops if op.phase == "dgrad"), default=0)
        weights = max((_written(op) for op in ops if op.phase == "wgrad"), default=0)
        first, second = ("wgrad", "dgrad") if data >= weights else ("dgrad", "wgrad")
        rank = {first: 0, second: 1}
        return sorted(ops, key=lambda op: rank.get(op.phase, 2))

    return _layer_by_layer(graph, dependencies(graph.ops), ordered)


def order_by_layer(graph: StepGraph) -> StepGraph:
    """Order each layer's backward pass and updates so that the most bytes live within it are as
    few as any order of that layer allows."""
    search = GroupSearch(graph)
    return _layer_by_layer(graph, search.before, search.best_order)


def _written(op: Op) -> int:
    return max((t.nbytes for t in op.writes if t.kind != "scratch"), default=0)


def _layer_by_layer(
    graph: StepGraph, before: list[set[int]], ordered: Callable[[list[Op]], list[Op]]
) -> StepGraph:
    """`graph` with each layer's backward group in the order that `ordered` gives, if it is one;
    before: by op, those that it must follow."""
    ops: list[Op] = []
    for group in _groups(graph.ops):
        start = len(ops)
        place = {op: i for i, op in enumerate(group)}
        wanted = [place[op] for op in (ordered(group) if len(group) > 1 else group)]
        rank = sorted(range(len(wanted)), key=wanted.__getitem__)
        needs = [[j - start for j in before[start + i] if j >= start] for i in place.values()]
        missing, after = [len(js) for js in needs], followers(needs)
        ready = [k for k, i in enumerate(wanted) if not missing[i]]
        while ready:  # the first wanted op that is free to run
            i = wanted[heappop(ready)]
            ops.append(group[i])
            for j in after[i]:
                missing[j] -= 1
                if not missing[j]:
                    heappush(ready, rank[j])
    return replace(graph, ops=tuple(ops))


def _groups(ops: tuple[Op, ...]) -> Iterator[list[Op]]:
    """Forward ops one by one; the backward ops and updates of one layer together."""
    for (phase, _), run in groupby(ops, key=lambda op: (op.phase in ONE_BY_ONE, op.layer)):
        if phase:
            yield from ([op] for op in run)
        else:
            yield list(run)


class GroupSearch:
    """Exact search over the orders of one layer's ops: dynamic programming over subsets.

    What is live after a set of ops does not depend on their order (Held and Karp 1962 use the
    same fact for tours), so the best order of a set follows from the best orders of its subsets.
    """

    def __init__(self, graph: StepGraph) -> None:
        self.position = {op: i for i, op in enumerate(graph.ops)}
        self.before = dependencies(graph.ops)
        self.last_use: dict[Tensor, int] = {}
        self.first_use: dict[Tensor, int] = {}
        for i, op in enumerate(graph.ops):
            for t in (*op.reads, *op.writes):
                self.first_use.setdefault(t.storage, i)
                self.last_use[t.storage] = i
        for t in graph.outputs:
            self.last_use[t.storage] = len(graph.ops)

    def best_order(self, ops: list[Op]) -> list[Op]:
        """The order of `ops` with the least peak; among those the least sum of loads."""
        if len(ops) > LARGEST_SEARCH:
            return ops
        needs = self._needs(ops)
        uses = self._uses(ops)
        best: dict[int, tuple[int, int, tuple[int, ...]]] = {0: (0, 0, ())}
        for done in range(1 << len(ops)):
            if done not in best:
                continue
            peak, total, order = best[done]
            for i in range(len(ops)):
                if not done >> i & 1 and not needs[i] & ~done:
                    after = done | 1 << i
                    load = _load_during(ops[i], i, done, uses)
                    entry = max(peak, load), total + load, (*order, i)
                    if after not in best or entry < best[after]:
                        best[after] = entry
        return [ops[i] for i in best[(1 << len(ops)) - 1][2]]

    def _needs(self, ops: list[Op]) -> list[int]:
        """For each op the set (as bits) of ops of the group that it must follow."""
        index = {self.position[op]: i for i, op in enumerate(ops)}
        return [
            sum(1 << index[j] for j in self.before[self.position[op]] if j in index) for op in ops
        ]

    def _uses(self, ops: list[Op]) -> dict[Tensor, _Use]:
        """The tensors that begin or end within the group: the others are live throughout."""
        first, last = self.position[ops[0]], max(self.position[op] for op in ops)
        users: dict[Tensor, int] = {}
        writers: dict[Tensor, int] = {}
        for i, op in enumerate(ops):
            for t in (*op.reads, *op.writes):
                users[t.storage] = users.get(t.storage, 0) | 1 << i
            for t in op.writes:
                writers[t.storage] = writers.get(t.storage, 0) | 1 << i
        return {
            t: _Use(t.nbytes, users[t], writers.get(t, 0), begins, ends)
            for t in users
            if not t.persistent
            for begins in [self.first_use[t] >= first and not t.given]
            for ends in [self.last_use[t] <= last]
            if begins or ends
        }


class _Use:
    """One tensor as a group of ops sees it; sets of ops are bits of an integer."""

    __slots__ = ("begins", "ends", "nbytes", "users", "writers")

    def __init__(self, nbytes: int, users: int, writers: int, begins: bool, ends: bool) -> None:
        self.nbytes, self.users, self.writers = nbytes, users, writers
        self.begins, self.ends = begins, ends

    def alive(self, done: int) -> bool:
        """Whether it holds bytes that matter once exactly the ops in `done` have run."""
        written = not self.begins or bool(self.writers & done)
        return written and not (self.ends and not self.users & ~done)


def _load_during(op: Op, i: int, done: int, uses: dict[Tensor, _Use]) -> int:
    """Bytes live while `op` runs after `done`: what is alive, and what it writes."""
    bit = 1 << i
    load = sum(
        use.nbytes
        for use in uses.values()
        if use.alive(done) or use.alive(done | bit) or (use.begins and use.users & bit)
    )
    free: set[Tensor] = set()
    for new, old in op.may_overwrite:
        if new in uses and old in uses and not {new, old} & free:
            if uses[new].begins and not uses[new].alive(done) and not uses[old].alive(done | bit):
                load -= new.nbytes
                free |= {new, old}
    return load
