"""The model beside every figure of the review: docs/roofline.md has the tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import launches
from docs import review
from docs.review import GAPS, IDEAL, PARTS, SHARES, STEPS, Part, Share, steps

WITHIN = 0.35
"""Of a share of the peak and of a part of a step: the review says +-30 % of its own."""
OF_STEPS = 0.1
"""Of a whole step."""


@pytest.mark.parametrize("share", SHARES, ids=lambda s: f"{s.card} {s.what}")
def test_shares_of_the_peak(share: Share) -> None:
    assert share.error() == pytest.approx(0, abs=WITHIN)


def test_shares_on_average() -> None:
    assert sum(abs(share.error()) for share in SHARES) / len(SHARES) < 0.1


@pytest.mark.parametrize(("model", "card"), STEPS)
def test_steps(model: str, card: str) -> None:
    found = steps()[model, card]
    assert found.milliseconds() == pytest.approx(STEPS[model, card], rel=OF_STEPS)
    assert found.roofline == pytest.approx(IDEAL[model, card], rel=WITHIN)


@pytest.mark.parametrize(
    ("model", "part"),
    [(model, part) for model, parts in PARTS.items() for part in parts],
    ids=lambda what: what.what if isinstance(what, Part) else what,
)
def test_parts_of_steps(model: str, part: Part) -> None:
    assert part.predicted(model) == pytest.approx(part.told, rel=WITHIN)


def test_gaps_between_launches() -> None:
    assert steps()["resnet50", "h100"].count == 969
    assert review.gaps() == pytest.approx(GAPS, rel=0.05)


def test_more_bandwidth_never_makes_a_step_slower() -> None:
    """As the H200 beside the H100, whose multiprocessors are the same."""
    step = steps()["resnet50", "h100"]
    wide = replace(step, card=replace(step.card, bandwidth=4.8e12))
    assert wide.milliseconds() < step.milliseconds()
    assert wide.milliseconds() == pytest.approx(STEPS["resnet50", "h200"], rel=OF_STEPS)


def test_launches_are_kept_as_they_are(tmp_path: Path) -> None:
    """What is written of a plan is what is read, and takes the time that the plan says."""
    plan = launches.planned("alexnet", "h100")
    found = launches.launched(plan)
    lines = [launches.line("alexnet", "h100", count, what) for what, count in found.items()]
    file = tmp_path / "launches.csv"
    file.write_text("\n".join(",".join(map(str, row)) for row in (launches.HEAD, *lines)))
    rows = tuple((count, what) for _, _, count, what in launches.read(file))
    card = plan.options.card
    assert card is not None
    kept, time = review.Step(card, rows), plan.time()
    assert kept.count == time.launches
    assert kept.milliseconds() == pytest.approx(1e3 * time.seconds, rel=1e-3)
    assert kept.roofline == pytest.approx(1e3 * time.roofline)
