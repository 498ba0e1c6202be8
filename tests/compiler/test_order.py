"""Orders over the whole step: against every order of small graphs, by code of the test's own."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from benchmarks.ordering import random_ops
from minidl.compiler.order import Problem, order_for_peak, order_lower_bound
from minidl.compiler.order.search import find_order
from minidl.ir import StepGraph, Tensor, dependencies

QUICK = settings(deadline=None, derandomize=True, max_examples=60)
ALIGNMENT = 1


def nothing() -> None:
    """Ops of these graphs are never run."""


def random_graph(seed: int, count: int = 6) -> StepGraph:
    """A small DAG: each op reads some earlier results and writes one or two, perhaps in place."""
    return random_ops(count, seed, largest=9)


def peak(graph: StepGraph, order: tuple[int, ...]) -> int:
    """Most bytes live in that order; the most that an op may write over what it reads last is
    found by trying every choice of pairs."""
    ops = [graph.ops[i] for i in order]
    most = 0
    for i, op in enumerate(ops):
        earlier = {t for o in ops[:i] for t in (*o.reads, *o.writes)} | set(graph.inputs)
        later = {t for o in ops[i + 1 :] for t in (*o.reads, *o.writes)} | set(graph.outputs)
        needed_later = {t for o in ops[i:] for t in (*o.reads, *o.writes)} | set(graph.outputs)
        live = sum(t.nbytes for t in (earlier & needed_later) | set(op.reads) | set(op.writes))
        pairs = [
            (op.writes[k], op.reads[j])
            for k, j in op.in_place
            if op.reads[j] not in later and op.writes[k].nbytes <= op.reads[j].nbytes
        ]
        most = max(most, live - first_come(pairs))
    return most


def first_come(pairs: list[tuple[Tensor, Tensor]]) -> int:
    """Bytes saved by the pairs in the order in which the op lists them, each tensor once."""
    saved, taken = 0, set()
    for new, old in pairs:
        if new not in taken and old not in taken:
            saved += new.nbytes
            taken |= {new, old}
    return saved


def valid_orders(graph: StepGraph) -> list[tuple[int, ...]]:
    before = dependencies(graph.ops)
    return [
        order
        for order in permutations(range(len(graph.ops)))
        if all(order.index(j) < order.index(i) for i in order for j in before[i])
    ]


@QUICK
@given(st.integers(0, 10**6))
def test_against_every_order(seed: int) -> None:
    graph = random_graph(seed)
    note(str([(op, op.reads, op.writes, op.in_place) for op in graph.ops]))
    peaks = {order: peak(graph, order) for order in valid_orders(graph)}
    optimum = min(peaks.values())
    problem = Problem.of(graph, ALIGNMENT)
    for order, expected in peaks.items():
        assert max(problem.loads(order)) == expected
    assert order_lower_bound(problem) <= optimum
    found = find_order(problem, optimum, effort=10**6)
    assert found.order is not None
    assert peaks[tuple(found.order)] == optimum
    below = find_order(problem, optimum - 1, effort=10**6)
    assert below.order is None
    assert below.exhausted
    assert optimum - 1 < below.next_limit <= optimum
    best = order_for_peak(graph, ALIGNMENT)
    order = tuple(graph.ops.index(op) for op in best.graph.ops)
    assert best.lower_bound(ALIGNMENT) == peaks[order] == optimum


@pytest.mark.parametrize("seed", range(8))
def test_larger_graphs_keep_bound_and_order_apart(seed: int) -> None:
    """No brute force: bound <= found <= the order as it was, and the order is a valid one."""
    graph = random_graph(seed, count=60)
    best = order_for_peak(graph, ALIGNMENT)
    place = {op: i for i, op in enumerate(best.graph.ops)}
    for op, js in zip(graph.ops, dependencies(graph.ops), strict=True):
        assert all(place[graph.ops[j]] < place[op] for j in js)
    order = tuple(graph.ops.index(op) for op in best.graph.ops)
    assert best.lower_bound(ALIGNMENT) <= peak(graph, order)
    assert peak(graph, order) <= peak(graph, tuple(range(60)))


def test_a_search_that_gives_up_says_so() -> None:
    graph = random_graph(3, count=60)
    problem = Problem.of(graph, ALIGNMENT)
    found = find_order(problem, order_lower_bound(problem) - 1, effort=1)
    assert found.order is None
    assert not found.exhausted or found.next_limit >= order_lower_bound(problem)
