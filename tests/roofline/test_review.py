"""The model beside every figure of the review: docs/roofline.md has the tables."""

from __future__ import annotations

import pytest

from docs import review
from docs.review import GAPS, PARTS, SHARES, STEPS, Part, Share

WITHIN = 0.35
"""Of a share of the peak and of a part of a step: the review says +-30 % of its own."""
OF_STEPS = 0.1
"""Of a whole step."""


@pytest.mark.parametrize("share", SHARES, ids=lambda s: f"{s.card} {s.what}")
def test_shares_of_the_peak(share: Share) -> None:
    assert share.error() == pytest.approx(0, abs=WITHIN)


def test_shares_on_average() -> None:
    assert sum(abs(share.error()) for share in SHARES) / len(SHARES) < 0.1


def _of_step(model: str, card: str) -> float:
    return 1e3 * review.time(model, card).seconds


def test_a_step() -> None:
    assert _of_step("alexnet", "h100") == pytest.approx(STEPS["alexnet", "h100"], rel=OF_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "card"), STEPS)
def test_steps(model: str, card: str) -> None:
    assert _of_step(model, card) == pytest.approx(STEPS[model, card], rel=OF_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "part"),
    [(model, part) for model, parts in PARTS.items() for part in parts],
    ids=lambda what: what.what if isinstance(what, Part) else what,
)
def test_parts_of_steps(model: str, part: Part) -> None:
    found = part.predicted(review.time(model, "h100"))
    assert found == pytest.approx(part.told, rel=WITHIN)


@pytest.mark.slow
def test_launches_of_resnet50() -> None:
    step = review.time("resnet50", "h100")
    assert 1e3 * step.launches * step.card.launch == pytest.approx(GAPS["resnet50"], rel=0.05)
