"""What is said of how near a plan is to the least."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

import minidl as dl
from minidl.compiler import planner
from minidl.compiler.place import Block, Impossible, Undecided, lowest
from minidl.placed.file import placed_to_dict
from minidl.report.table import certificate


@pytest.fixture(scope="module")
def plan() -> dl.Plan:
    return dl.plan(dl.models.lenet(), 2)


def test_a_plan_at_its_load_has_no_word_of_placement(plan: dl.Plan) -> None:
    assert plan.arena_bytes == plan.max_load_bytes == plan.placement_lower_bound_bytes
    assert "placement reaches" not in certificate(plan)


def test_above_its_load_it_says_what_is_known(plan: dl.Plan) -> None:
    load = plan.max_load_bytes
    above = replace(plan, arena_bytes=load + 4096)
    assert certificate(above).endswith(
        "; the arena is 4,096 bytes above the most live at once, and whether a placement reaches "
        "that was not decided"
    )
    proven = replace(above, placement_lower_bound_bytes=load + plan.options.alignment)
    assert certificate(proven).endswith(
        "; the arena is 4,096 bytes above the most live at once, which no placement reaches: proven"
    )


@pytest.mark.parametrize("answer", [Impossible("made up"), Undecided(7)])
def test_a_plan_keeps_what_the_search_has_proved(
    answer: Impossible | Undecided, monkeypatch: pytest.MonkeyPatch
) -> None:
    def higher(blocks: Sequence[Block], effort: int) -> tuple[list[int], Impossible | Undecided]:
        offsets, _ = lowest(blocks, effort)
        return [offset + 256 for offset in offsets], answer

    monkeypatch.setattr(planner, "lowest", higher)
    plan = dl.plan(dl.models.lenet(), 2)
    raised = plan.options.alignment if isinstance(answer, Impossible) else 0
    assert plan.placement_lower_bound_bytes == plan.max_load_bytes + raised
    assert plan.arena_bytes == plan.max_load_bytes + 256
    written = json.loads(json.dumps(placed_to_dict(plan)))
    assert written["placement_lower_bound_bytes"] == plan.placement_lower_bound_bytes
