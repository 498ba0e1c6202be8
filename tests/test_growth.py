"""Twice the size is twice the work, in calls: what `benchmarks/growth.py` measures in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.growth import COSTS
from tests.work import calls

SIZES = {"listing": 1000, "run": 16}
"""That a cost is counted at, and twice that; others at `LAYERS`."""
LAYERS = 36

SEARCHES = "its searches have limits in work, not in proportion to the graph"
MEASURED = {
    "plan, arena": SEARCHES,
    "plan, branching": SEARCHES,
    "plan, random": SEARCHES,
}
"""Costs that grow otherwise, and why."""


@pytest.mark.parametrize("name", [name for name in COSTS if name not in MEASURED])
def test_twice_the_size_is_twice_the_work(name: str, tmp_path: Path) -> None:
    size = SIZES.get(name, LAYERS)
    calls(COSTS[name].prepared(size // 4, tmp_path))  # fills caches
    once, twice = (calls(COSTS[name].prepared(n, tmp_path)) for n in (size, 2 * size))
    assert once > size
    assert twice < 2.3 * once
