"""What had a tensor's bytes before: asked of an index, against all tensors looked through."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from minidl.ir import Tensor
from minidl.placed.graph import PlacedGraph, Placement
from minidl.report.takeovers import NAMED, SHARE, Takeovers
from tests.placed.handmade import op, plan_of, tensor
from tests.report.test_page import planned


def tenants(plan: PlacedGraph, t: Tensor) -> list[Tensor]:
    """Those dead before `t` begins of whose bytes it has a tenth or more of its own, the last to
    die first, then by offset."""
    first, found = plan.placements[t].first, []
    for other in sorted((x for x in plan.placements if x.view_of is None), key=plan.offset):
        low = max(plan.offset(t), plan.offset(other))
        high = min(plan.offset(t) + t.nbytes, plan.offset(other) + other.nbytes)
        dead = plan.placements[other].last <= first
        if other is not t and dead and SHARE * max(0, high - low) >= t.nbytes:
            found.append(other)
    return sorted(found, key=lambda x: -plan.placements[x].last)


def random_plan(seed: int, count: int = 80) -> PlacedGraph:
    """Tensors of all sizes anywhere, at any time: more lies over more than in a right plan."""
    r = np.random.default_rng(seed)
    places = {}
    for k in range(count):
        size = int(r.choice([1, 2, 3, 10, 64, 256, 4000]) * r.integers(1, 4))
        first = int(r.integers(0, 40))
        made = tensor(f"t{k}", size)
        offset = 16 * int(r.integers(0, 60))
        places[made] = Placement(offset, first, first + int(r.integers(1, 10)))
    made = next(iter(places))
    one = plan_of([op("make", [made], [])], {made: (0, 0, 1)}, [made], 64, 64)
    return replace(one, placements=places)


@pytest.mark.parametrize("seed", range(20))
def test_random_plans(seed: int) -> None:
    plan = random_plan(seed)
    takes, counts = Takeovers(plan), Counter[int]()
    for t in plan.placements:
        found, expected = takes.of(t, plan.graph.ops[0]), tenants(plan, t)
        assert found.reused == tuple(expected[:NAMED])
        assert found.count == len(expected)
        counts[len(expected)] += 1
    assert counts[0]
    assert any(size > NAMED for size in counts)


def test_a_step() -> None:
    plan = planned()
    takes, more = Takeovers(plan), 0
    for i, each in enumerate(plan.graph.ops):
        for t in {t.storage for t in each.writes}:
            if plan.placements[t].first == i and not t.given:
                found, expected = takes.of(t, each), tenants(plan, t)
                assert (found.reused, found.count) == (tuple(expected[:NAMED]), len(expected))
                more += len(expected)
    assert more > 10
