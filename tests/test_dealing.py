"""tests/dealing.py, by the scheduler that it is for."""

from __future__ import annotations

import random
from typing import Any
from unittest.mock import MagicMock

import pytest

from tests.dealing import LONGEST, dealt

pytest.importorskip("xdist")

from xdist.scheduler import WorkStealingScheduling

LONG = [f"tests/a.py::{part}" for part in LONGEST]


def first_runs(tests: list[str], workers: int) -> list[list[str]]:
    """What the scheduler gives to each worker at first."""
    config: Any = MagicMock()
    config.getvalue.return_value = [f"{workers}*popen"]
    scheduling = WorkStealingScheduling(config)
    nodes: list[Any] = [MagicMock(shutting_down=False) for _ in range(workers)]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, tests)
    scheduling.schedule()
    return [[tests[i] for i in scheduling.node2pending[node]] for node in nodes]


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_every_worker_begins_with_long_tests_and_no_other_follows(workers: int) -> None:
    short = [f"tests/b.py::test_{i}" for i in range(200)]
    tests = random.sample(LONG, len(LONG)) + short
    ordered = dealt(tests, str, workers)
    assert sorted(ordered) == sorted(tests)
    runs = first_runs(ordered, workers)
    for i, run in enumerate(runs):
        mine = LONG[i::workers]
        assert run[: len(mine)] == mine
    assert [t for run in runs for t in run if t not in LONG] == short, "what follows is not torn"


def test_more_long_ones_than_others() -> None:
    tests = [*LONG, "tests/b.py::test_0"]
    ordered = dealt(tests, str, 4)
    assert sorted(ordered) == sorted(tests)


def test_one_worker_has_them_in_the_order_of_their_length() -> None:
    assert dealt(["a", *LONG[::-1], "b"], str, 1) == [*LONG, "a", "b"]
