"""Bytes live in a stretch of an order: in arrays the same as in lists."""

from __future__ import annotations

import pytest

from benchmarks.ordering import random_ops
from minidl.compiler.order import repair
from minidl.compiler.order.problem import Problem


@pytest.mark.parametrize("seed", range(5))
def test_arrays_have_the_loads_of_lists(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random ops that may write over several tensors; stretches backwards, too."""
    problem = Problem.of(random_ops(120, seed), 1)
    order = repair.Repair(problem, range(120), 0)
    for start in range(0, 120, 17):
        for ops in (order.order[start : start + 40], order.order[start : start + 9][::-1]):
            found = []
            for longest in (0, 1000):
                monkeypatch.setattr(repair, "LONG", longest)
                found.append(order._walk(start, ops))
            assert found[0] == found[1]
    monkeypatch.setattr(repair, "LONG", 0)
    assert order._walk(0, order.order)[0] == problem.loads(range(120))


def test_moves_are_made_once_for_all_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem.of(random_ops(60, 0), 1)
    order = repair.Repair(problem, range(60), 10**9)
    assert not order.lower(0)
    made: list[int] = []
    cut = repair.least_cut
    monkeypatch.setattr(repair, "least_cut", lambda *given: made.append(0) or cut(*given))
    effort = order.effort
    assert not order.lower(0)
    assert not made
    assert order.effort < effort
