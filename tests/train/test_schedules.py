"""Schedules against PyTorch's recursions and formulas, written down here a second time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from minidl.ir import ArgumentError
from minidl.train import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Plateau,
    Position,
    Schedule,
    StepDecay,
    Warmup,
)

PER_EPOCH, EPOCHS = 7, 12
STEPS = PER_EPOCH * EPOCHS


def factors(schedule: Schedule, epochs: int = EPOCHS) -> list[float]:
    steps = range(PER_EPOCH * epochs)
    return [schedule.factor(Position(step, PER_EPOCH, epochs), {}) for step in steps]


def each_epoch(values: Sequence[float]) -> list[float]:
    return [value for value in values for _ in range(PER_EPOCH)]


def chained(gamma: float, at: Sequence[int], epochs: int = EPOCHS) -> list[float]:
    """One factor more at each epoch in `at`, as PyTorch's chainable forms multiply."""
    rate, found = 1.0, []
    for epoch in range(epochs):
        rate *= gamma ** at.count(epoch)
        found.append(rate)
    return each_epoch(found)


def cosine_recursion(steps: int, low: float) -> list[float]:
    """CosineAnnealingLR.get_lr: each rate from the one before."""
    rates = [1.0]
    for t in range(1, steps):
        up, before = 1 + math.cos(math.pi * t / steps), 1 + math.cos(math.pi * (t - 1) / steps)
        rates.append(up / before * (rates[-1] - low) + low)
    return rates


def test_constant() -> None:
    assert factors(Constant()) == [1.0] * STEPS


@pytest.mark.parametrize("size", [1, 3, 30])
def test_step(size: int) -> None:
    cuts = list(range(size, EPOCHS, size))
    assert factors(StepDecay(size, 0.5)) == pytest.approx(chained(0.5, cuts))


def test_multi_step() -> None:
    assert factors(MultiStep((2, 5, 5), 0.1)) == pytest.approx(chained(0.1, [2, 5, 5]))


def test_exponential() -> None:
    cuts = list(range(1, EPOCHS))
    assert factors(Exponential(0.9)) == pytest.approx(chained(0.9, cuts))


@pytest.mark.parametrize("low", [0.0, 0.1])
def test_cosine(low: float) -> None:
    assert factors(Cosine(minimum=low)) == pytest.approx(cosine_recursion(STEPS, low), abs=1e-9)


@pytest.mark.parametrize("after", [Constant(), Cosine(), StepDecay(2)])
def test_warmup_is_a_line_and_then_the_other_from_its_start(after: Schedule) -> None:
    found = factors(Warmup(after, epochs=3, start=0.01))
    warm = 3 * PER_EPOCH
    line = [0.01 + (1 - 0.01) * t / warm for t in range(warm)]
    assert found[:warm] == pytest.approx(line)
    assert found[warm:] == pytest.approx(factors(after, EPOCHS - 3))


def test_no_warmup() -> None:
    assert factors(Warmup(Cosine(), epochs=0)) == factors(Cosine())


def test_warmup_longer_than_the_run() -> None:
    found = factors(Warmup(Cosine(), epochs=2 * EPOCHS, start=0.0))
    assert found == pytest.approx([t / (2 * STEPS) for t in range(STEPS)])


def one_cycle(t: int, share: float, div: float, final_div: float) -> float:
    """OneCycleLR with max_lr 1, from its documentation: a list of phases."""
    initial = 1 / div
    phases = [(share * STEPS - 1, initial, 1.0), (STEPS - 1, 1.0, initial / final_div)]
    start = 0.0
    for end, a, b in phases:
        if t <= end or end == STEPS - 1:
            along = (t - start) / (end - start)
            return b + (a - b) / 2.0 * (math.cos(math.pi * along) + 1)
        start = end
    raise AssertionError


@pytest.mark.parametrize(("share", "div", "final_div"), [(0.3, 25, 1e4), (0.25, 10, 100)])
def test_one_cycle(share: float, div: float, final_div: float) -> None:
    found = factors(OneCycle(share=share, div=div, final_div=final_div))
    assert found == pytest.approx([one_cycle(t, share, div, final_div) for t in range(STEPS)])
    assert found[0] == pytest.approx(1 / div)
    assert found[-1] == pytest.approx(1 / div / final_div)


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_cycle_of_a_very_short_run(epochs: int) -> None:
    for per_epoch in (1, 2, 3, 4):
        for step in range(per_epoch * epochs):
            factor = OneCycle().factor(Position(step, per_epoch, epochs), {})
            assert 0 <= factor <= 1


class ReduceOnPlateau:
    """PyTorch's ReduceLROnPlateau, mode min, threshold mode rel, with its mutable counters."""

    def __init__(self, gamma: float, patience: int, cooldown: int, low: float) -> None:
        self.gamma, self.patience, self.cooldown, self.low = gamma, patience, cooldown, low
        self.rate, self.best, self.bad, self.waiting = 1.0, math.inf, 0, 0

    def step(self, value: float) -> float:
        if value < self.best * (1.0 - 1e-4):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.waiting > 0:
            self.waiting -= 1
            self.bad = 0
        if self.bad > self.patience:
            self.rate = max(self.rate * self.gamma, self.low)
            self.waiting, self.bad = self.cooldown, 0
        return self.rate


LOSSES = [3, 2, 2, 2.1, 1.99999, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, math.nan, 1, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("cooldown", [0, 2])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_plateau(patience: int, cooldown: int) -> None:
    schedule = Plateau(gamma=0.5, patience=patience, cooldown=cooldown, minimum=0.1)
    other, memory = ReduceOnPlateau(0.5, patience, cooldown, 0.1), {}
    where = Position(0, 1, 1)
    assert schedule.factor(where, memory) == 1.0
    for loss in LOSSES:
        memory = dict(schedule.observe(memory, loss))
        assert schedule.factor(where, memory) == other.step(loss)
    assert schedule.factor(where, memory) < 1


def test_plateau_behind_a_warmup_remembers() -> None:
    schedule, memory = Warmup(Plateau(gamma=0.5, patience=0), epochs=1), {}
    for loss in (1.0, 1.0, 1.0):
        memory = dict(schedule.observe(memory, loss))
    assert schedule.factor(Position(0, 10, 5), memory) == 0.01
    assert schedule.factor(Position(10, 10, 5), memory) == 0.25


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_named_schedule_is_a_factor(name: str) -> None:
    found = factors(SCHEDULES[name])
    assert all(0 <= factor <= 1 for factor in found)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (StepDecay, {"size": 0}),
        (MultiStep, {"milestones": (0,)}),
        (Exponential, {"gamma": -1}),
        (Cosine, {"minimum": 2}),
        (OneCycle, {"share": 1}),
        (OneCycle, {"div": 0}),
        (Plateau, {"patience": -1}),
        (Plateau, {"gamma": 1}),
    ],
)
def test_values_out_of_range(kind: type[Schedule], how: dict[str, float]) -> None:
    (name,) = how
    with pytest.raises(ArgumentError, match=f"{kind.__name__}: {name} must be"):
        kind(**how)
