"""First values of a step's variables: drawn once somebody needs them, the same whoever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import minidl as dl
from minidl.ir import ArgumentError, Array, Variable
from minidl.layers.network import as_network
from minidl.ops import host
from minidl.runtime import step as module

IMAGE, CLASSES, BATCH = (8, 8, 3), 3, 4


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the variables whose first values were drawn, as they were."""
    names: list[str] = []
    plain = module.Step._first

    def first(step: dl.Step, variable: Variable) -> Array:
        names.append(variable.name)
        return plain(step, variable)

    monkeypatch.setattr(module.Step, "_first", first)
    return names


def network() -> dl.Network:
    layers = dl.Conv2d(4, 3), dl.BatchNorm2d(), dl.ReLU(), dl.Flatten(), dl.Linear(CLASSES)
    return as_network(dl.Sequential(*layers), IMAGE)


def compiled(**how: int) -> dl.Step:
    return dl.compile(network(), BATCH, **how)  # type: ignore[arg-type]


def batch() -> tuple[Array, Array]:
    draw = np.random.default_rng()
    return draw.normal(size=(BATCH, *IMAGE)).astype(np.float32), draw.integers(0, CLASSES, BATCH)


def test_who_loads_weights_draws_the_optimizers_state_alone(drawn: list[str]) -> None:
    state = compiled().state_dict()
    drawn.clear()
    step = compiled()
    step.load_state_dict(state)
    assert drawn == []
    step.predict(batch()[0])
    assert not set(drawn) & state.keys()
    assert sorted(drawn + list(state)) == sorted(step.variables)


def test_who_goes_on_draws_nothing(drawn: list[str]) -> None:
    step, images = compiled(), batch()
    step(*images)
    state = step.variables_dict()
    drawn.clear()
    other = compiled()
    other.load_variables(state)
    assert other(*images) == step(*images)
    assert drawn == []


def test_what_is_refused_is_not_taken_for_loaded(drawn: list[str]) -> None:
    step = compiled()
    state = step.state_dict()
    other = compiled()
    with pytest.raises(dl.ArgumentError, match="missing"):
        other.load_state_dict({name: a + 1 for name, a in state.items() if name != "4.bias"})
    assert all(np.array_equal(state[name], a) for name, a in other.state_dict().items())
    assert drawn.count("4.weight") == 2


DOORS: dict[str, Callable[[dl.Step], object]] = {
    "call": lambda step: step(*batch()),
    "predict": lambda step: step.predict(batch()[0]),
    "state_dict": lambda step: step.state_dict(),
    "variables_dict": lambda step: step.variables_dict(),
    "feed": lambda step: list(step.feed([batch()])),
}


@pytest.mark.parametrize("door", DOORS)
def test_each_is_drawn_once(door: str, drawn: list[str]) -> None:
    step = compiled()
    assert drawn == []
    for _ in range(2):
        DOORS[door](step)
        assert sorted(drawn) == sorted(step.variables)


def test_one_that_is_looked_at_is_drawn_alone(drawn: list[str]) -> None:
    step = compiled()
    assert np.any(step.array("0.weight"))
    assert step.steps == 0
    assert drawn == ["0.weight", "step"]
    with pytest.raises(ArgumentError, match="no variable 'x'"):
        step.array("x")


def test_what_was_set_before_stays(drawn: list[str]) -> None:
    step = compiled()
    step.learning_rate = 0.25
    step.array("4.bias")[:] = 7
    step.predict(batch()[0])
    assert step.learning_rate == 0.25
    assert (step.array("4.bias") == 7).all()
    assert "learning_rate" not in drawn


def orders(step: dl.Step) -> Iterator[dict[str, Array]]:
    yield step.variables_dict()
    for names in (step.variables, reversed(step.variables)):
        other = compiled(seed=9)
        yield {name: other.array(name).copy() for name in names}


@pytest.mark.parametrize("cores", [1, 3])
def test_bits_depend_on_seed_and_name_alone(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = compiled(seed=9).variables_dict()
    monkeypatch.setattr(host, "cores", lambda: cores)
    for found in orders(compiled(seed=9)):
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])


def test_ahead_keeps_the_order_and_no_more_than_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cores", lambda: 2)
    begun: list[int] = []

    def square(n: int) -> int:
        begun.append(n)
        return n * n

    for i, found in enumerate(host.ahead(square, range(50))):
        assert found == i * i
        assert len(begun) <= i + 4
    assert sorted(begun) == list(range(50))
