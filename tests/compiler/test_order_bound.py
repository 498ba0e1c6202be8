"""Bounds of small graphs against the optimum over every order, by code of the test's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise, product

import pytest

from minidl.compiler.order import Problem, bound, order_for_peak, order_lower_bound
from minidl.compiler.order.cut import least_during
from minidl.compiler.order.flow import SINK, SOURCE, Flow
from minidl.compiler.order.repair import Repair
from minidl.ir import Op, StepGraph, Tensor, Variable, dependencies, followers, part_of
from tests.drawn import drawn

ALIGNMENT = 1


def nothing() -> None:
    """Ops of these graphs are never run."""


def random_step(seed: int, most: int) -> StepGraph:
    """What real steps have: results in place, parts of one buffer that several ops write, a
    variable that one op changes and later ones read, ops with nothing to follow."""
    chance = random.Random(seed)
    x = Tensor("x", (chance.randint(1, 9),), "uint8", "input")
    w = Variable("w", Tensor("w", (chance.randint(1, 9),), "uint8", "parameter"), nothing)
    whole = Tensor("whole", (chance.randint(3, 12),), "uint8", "activation")
    bounds = [0, chance.randint(1, whole.shape[0] - 1), whole.shape[0]]
    parts = [part_of(whole, 0, a, b, f"part{a}") for a, b in pairwise(bounds)]
    made, ops = [x, w.tensor], []
    for k in range(chance.randint(3, most)):
        reads = tuple(chance.sample(made, min(len(made), chance.choice((0, 1, 1, 2, 3)))))
        writes = [Tensor(f"t{k}", (chance.randint(1, 12),), "uint8", "activation")]
        if parts and chance.random() < 0.3:
            writes = [parts.pop()]
        elif chance.random() < 0.3:
            writes.append(Tensor(f"s{k}", (chance.randint(1, 9),), "uint8", "scratch"))
        elif chance.random() < 0.1:
            writes.append(w.tensor)
        pairs = product(range(len(writes)), range(len(reads)))
        in_place = tuple(pair for pair in pairs if chance.random() < 0.4)
        ops.append(Op(nothing, f"op{k}", "forward", tuple(writes), reads, in_place))
        made += [t for t in writes if t.kind == "activation"]
    return StepGraph(tuple(ops), (x,), (chance.choice(made[2:]),), (w,))


class Every:
    """All sets of ops that can have run, as bits, and what is live at an op that runs next."""

    def __init__(self, graph: StepGraph) -> None:
        self.ops = graph.ops
        self.needs = [sum(1 << j for j in js) for js in dependencies(graph.ops)]
        self.users: dict[Tensor, int] = {}
        for i, op in enumerate(graph.ops):
            for t in (*op.reads, *op.writes):
                self.users[t.storage] = self.users.get(t.storage, 0) | 1 << i
        self.given = {t for t in graph.inputs if t in self.users}
        self.lasting = {v.tensor for v in graph.variables}
        self.lasting |= {t.storage for t in graph.outputs if t.size == 1}
        self.outputs = {t.storage for t in graph.outputs}

    def sets(self) -> Iterator[tuple[int, list[int]]]:
        """Each set, smaller ones first, and the ops that may run after it."""
        for done in range(1 << len(self.ops)):
            inside = [i for i in range(len(self.ops)) if done >> i & 1]
            if all(not self.needs[i] & ~done for i in inside):
                outside = (i for i in range(len(self.ops)) if not done >> i & 1)
                yield done, [i for i in outside if not self.needs[i] & ~done]

    def load(self, i: int, done: int) -> int:
        bit = 1 << i
        begun = {t for t, u in self.users.items() if u & (done | bit)} | self.given
        ended = {t for t in self.users.keys() - self.outputs if not self.users[t] & ~done}
        live = (begun - ended) | self.lasting
        saved, taken = 0, set[Tensor]()
        for new, old in self.ops[i].may_overwrite:
            starts = not self.users[new] & done and new not in self.given | self.lasting
            dies = not self.users[old] & ~(done | bit) and old not in self.outputs | self.lasting
            if starts and dies and not {new, old} & taken:
                saved, taken = saved + new.nbytes, taken | {new, old}
        return sum(t.nbytes for t in live) - saved

    def optimum(self) -> tuple[int, list[int]]:
        """The least peak of all orders, and by op the least load at it in any."""
        best, least = {0: 0}, [1 << 60] * len(self.ops)
        for done, ready in self.sets():
            for i in ready:
                load = self.load(i, done)
                least[i] = min(least[i], load)
                after = done | 1 << i
                best[after] = min(best.get(after, 1 << 60), max(best[done], load))
        return best[(1 << len(self.ops)) - 1], least


def assert_bounds_hold(seed: int, most: int) -> bool:
    """Whether the order that is found is the best of all, too."""
    graph = random_step(seed, most)
    every, problem = Every(graph), Problem.of(graph, ALIGNMENT)
    optimum, least = every.optimum()
    assert order_lower_bound(problem) <= optimum
    after = followers(problem.before)
    cuts = [least_during(problem, after, op) for op in range(len(graph.ops))]
    assert all(cut.least <= load for cut, load in zip(cuts, least, strict=True)), seed
    if all(len(op.may_overwrite) < 2 for op in graph.ops):
        assert [cut.least for cut in cuts] == least, seed
    best = order_for_peak(graph, ALIGNMENT)
    order = [graph.ops.index(op) for op in best.graph.ops]
    needs = dependencies(graph.ops)
    assert all(needs[i] <= set(order[:k]) for k, i in enumerate(order))
    peak = max(problem.loads(order))
    assert best.lower_bound(ALIGNMENT) <= optimum <= peak, seed
    return peak == optimum


def test_no_bound_is_above_the_optimum() -> None:
    found = sum(assert_bounds_hold(seed, most=8) for seed in range(300))
    assert found == 300


@pytest.mark.slow
def test_no_bound_is_above_the_optimum_of_many() -> None:
    """Of 10,000 a quarter in a session."""
    seeds = drawn(range(10_000), 4)
    found = sum(assert_bounds_hold(seed, most=12) for seed in seeds)
    assert found == len(seeds) >= 2_500


def needed(graph: StepGraph) -> int:
    """The bound by its definition, with sets of all that comes before each op."""
    before = [set(js) for js in dependencies(graph.ops)]
    for i, js in enumerate(before):
        before[i] = {i}.union(js, *(before[j] for j in js))
    every, most = Every(graph), 0
    for v, op in enumerate(graph.ops):
        live = 0
        for t in {*every.users, *every.lasting}:
            by = _users(every, t)
            writes = [i for i in by if t in {w.storage for w in graph.ops[i].writes}]
            begun = t in every.given or any(i in before[v] for i in writes)
            stays = t in every.outputs or any(v in before[i] for i in by)
            if t in every.lasting or (begun and stays):
                live += t.nbytes
        pairs = (p for p in op.may_overwrite if not every.lasting & {*p})
        later = [(new, [i for i in _users(every, old) if v in before[i]]) for new, old in pairs]
        over = {new for new, users in later if users == [v]}
        most = max(most, live - sum(new.nbytes for new in over))
    return most


def _users(every: Every, t: Tensor) -> list[int]:
    return [i for i in range(len(every.ops)) if every.users.get(t, 0) >> i & 1]


@pytest.mark.parametrize("seed", range(40))
def test_the_bound_is_that_of_all_ops(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few are asked at once."""
    graph = random_step(seed, most=60)
    problem = Problem.of(graph, ALIGNMENT)
    assert order_lower_bound(problem) == needed(graph)
    monkeypatch.setattr(bound, "AT_ONCE", 3)
    monkeypatch.setattr(bound, "ROWS", 2)
    assert order_lower_bound(problem) == needed(graph)
    monkeypatch.setattr(bound, "EFFORT", len(graph.ops))
    assert order_lower_bound(problem) <= needed(graph)


@pytest.mark.parametrize("seed", range(30))
def test_a_flow_is_the_least_cut(seed: int) -> None:
    chance = random.Random(seed)
    flow, nodes = Flow(), 7
    for _ in range(nodes - 2):
        flow.node()
    edges = [
        (a, b, chance.randint(0, 9))
        for a, b in product(range(nodes), range(nodes))
        if a != b and chance.random() < 0.5
    ]
    for edge in edges:
        flow.edge(*edge)

    def room(chosen: set[int]) -> int:
        return sum(size for a, b, size in edges if a in chosen and b not in chosen)

    sides = [
        {SOURCE, *(n for n in range(2, nodes) if bits >> n & 1)} for bits in range(0, 1 << nodes, 4)
    ]
    least = min(map(room, sides))
    cuts = [side for side in sides if room(side) == least]
    assert flow.run() == least
    source, sink = flow.from_source(), flow.to_sink()
    assert {n for n in range(nodes) if source[n]} == set.intersection(*cuts)
    assert {n for n in range(nodes) if not sink[n]} == set.union(*cuts)
    assert SINK not in set.union(*cuts)


@pytest.mark.parametrize("seed", range(10))
def test_a_repaired_order_is_one_and_no_higher(seed: int) -> None:
    graph = random_step(seed, most=40)
    problem, own = Problem.of(graph, ALIGNMENT), list(range(len(graph.ops)))
    before = max(problem.loads(own))
    repair = Repair(problem, own, effort=10**6)
    reached = repair.lower(order_lower_bound(problem))
    assert sorted(repair.order) == own
    needs = dependencies(graph.ops)
    assert all(needs[i] <= set(repair.order[:k]) for k, i in enumerate(repair.order))
    assert repair.loads == problem.loads(repair.order)
    assert reached == (repair.peak <= order_lower_bound(problem))
    assert repair.peak <= before or not reached
