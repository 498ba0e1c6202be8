"""Predicted beside measured: which constant the measured times say is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

import minidl as dl
from benchmarks.gpu.predicted import RATES, constant_of, predicted, verdicts
from benchmarks.gpu.rows import Row
from minidl.cards import BY_NAME
from minidl.ir.card import Card
from minidl.report.times import time_step
from minidl.roofline import BOUNDS, CONSTANTS, Work
from minidl.roofline.model import DRAM, LATENCY, LAUNCH, SHARED

CARD = BY_NAME["rtx4090"]


def plan_of(card: Card) -> dl.Plan:
    net = dl.Sequential(
        dl.Input((56, 56, 64)),
        dl.Conv2d(64, 3, padding=1),
        dl.BatchNorm2d(),
        dl.ReLU(),
        dl.Flatten(),
        dl.Linear(10),
    )
    return dl.plan(net, 128, precision="bf16", gpu=card.name, optimizer=dl.SGD(0.1, 0.9))


def rows_of(plan: dl.Plan, truth: Card) -> list[Row]:
    """Rows of its ops that the model predicts for the plan's card, as if measured on another."""
    times = time_step(replace(plan, options=replace(plan.options, card=truth))).ops
    card = plan.options.card
    assert card is not None
    return [
        {"ms": 1e3 * time.seconds, **predicted(op, card)}
        for op, time in zip(plan.graph.ops, times, strict=True)
    ]


def test_nothing_is_wrong_where_all_is_as_predicted() -> None:
    for verdict in verdicts(rows_of(plan_of(CARD), CARD)):
        assert verdict.factor == pytest.approx(1)
        assert verdict.says == pytest.approx(verdict.used)
        assert verdict.words in ("holds", "too few ops")


def test_slow_memory_is_found() -> None:
    """With half of the bandwidth, the share of it that is reached is said to be half."""
    slow = replace(CARD, bandwidth=CARD.bandwidth / 2)
    rows = 3 * rows_of(plan_of(CARD), slow)
    found = {v.constant.partition(" ")[0]: v for v in verdicts(rows)}
    assert found["share_of_16"].says == pytest.approx(CONSTANTS.share_of_16 / 2, rel=0.05)
    assert found["share_of_16"].words == "wrong: ops take 2.00 x as long as it says"


def test_slow_launches_are_found() -> None:
    slow = replace(CARD, launch=3 * CARD.launch)
    found = {v.constant.partition(" ")[0]: v for v in verdicts(rows_of(plan_of(CARD), slow))}
    assert found["launch"].says == pytest.approx(3e6 * CARD.launch, rel=0.3)
    assert found["launch"].words.startswith("wrong")


ROW: Row = {"predicted_ms": 1.1, "launch_ms": 0.1, "constant": "c", "cached": False}


@pytest.mark.parametrize(
    ("bound", "measured", "says", "words"),
    [
        (DRAM, 1.1, 10.0, "holds"),
        (DRAM, 2.1, 5.0, "wrong: ops take 2.00 x as long as it says"),
        (LATENCY, 2.1, 20.0, "wrong: ops take 2.00 x as long as it says"),
        (SHARED, 0.6, 5.0, "wrong: ops take 0.50 x as long as it says"),
        (LAUNCH, 2.2, 20.0, "wrong: ops take 2.00 x as long as it says"),
        (DRAM, 0.05, 10_000.0, "wrong: ops take 0.00 x as long as it says"),
    ],
)
def test_verdicts(bound: str, measured: float, says: float, words: str) -> None:
    row = {**ROW, "ms": measured, "predicted_bound": bound, "constant_value": 10.0}
    (verdict,) = verdicts([row] * 3)
    assert (verdict.says, verdict.words) == (pytest.approx(says), words)
    assert verdicts([row])[0].words == "too few ops"


def test_what_the_l2_serves_says_nothing_of_the_memory() -> None:
    row = {**ROW, "ms": 1.0, "predicted_bound": DRAM, "constant_value": 1.0, "cached": True}
    assert verdicts([row]) == []
    assert len(verdicts([{**row, "predicted_bound": LAUNCH}])) == 1
    assert verdicts([{"ms": 1.0}]) == [], "a row of an older run"


@pytest.mark.parametrize("bound", BOUNDS)
def test_every_bound_has_a_constant(bound: str) -> None:
    name, value = constant_of(bound, Work(1, 32, 1.0, access=16), CARD)
    assert name
    assert value > 0
    assert set(RATES) <= set(BOUNDS)
