"""What layers of one name share: nothing but what the user shares by using one layer twice."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.ir import Site, Tensor
from minidl.ops.dropout import dropout_dgrad, dropout_forward

FEATURES = 64
SAME_CRC = "plumless", "buckeroo"
"""Two words with one CRC-32."""


def dropped_twice(first: dl.Layer, second: dl.Layer, *names: str | None) -> dl.Network:
    """y = w (first(x) + second(x))."""
    x = dl.Input(FEATURES)
    one, other = (layer(x, name=name) for layer, name in zip((first, second), names, strict=True))
    return dl.Network(x, dl.Linear(FEATURES, bias=False)(dl.Add()(one, other), name="fc"))


def branch() -> dl.Network:
    x = dl.Input(FEATURES)
    return dl.Network(x, dl.Dropout()(x))


def once() -> tuple[dl.Layer, dl.Layer]:
    layer = dl.Dropout()
    return layer, layer


def deep() -> dl.Sequential:
    return dl.Sequential(dl.ReLU(), dl.Sequential(dl.Dropout()))


DROPPED: dict[str, Callable[[], dl.Network]] = {
    "two names": lambda: dropped_twice(dl.Dropout(), dl.Dropout(), "one", "other"),
    "no names": lambda: dropped_twice(dl.Dropout(), dl.Dropout(), None, None),
    "one name": lambda: dropped_twice(dl.Dropout(), dl.Dropout(), "drop", "drop"),
    "the name of the next": lambda: dropped_twice(dl.Dropout(), dl.Dropout(), "dropout1", None),
    "one CRC-32": lambda: dropped_twice(dl.Dropout(), dl.Dropout(), *SAME_CRC),
    "networks without a name": lambda: dropped_twice(branch(), branch(), "", ""),
    "networks of one name": lambda: dropped_twice(branch(), branch(), "branch", "branch"),
    "one network twice": lambda: dropped_twice(*[branch()] * 2, "", ""),
    "chains in chains": lambda: dropped_twice(deep(), deep(), "", ""),
    "one layer twice": lambda: dropped_twice(*once(), None, None),
    "one layer twice by one name": lambda: dropped_twice(*once(), "drop", "drop"),
}
"""Networks that drop twice."""


def streams(plan: dl.Plan, function: Callable[..., None]) -> list[int]:
    return [op.attributes["stream"] for op in plan.graph.ops if op.function is function]


@pytest.mark.parametrize("name", DROPPED)
def test_each_place_has_a_mask_of_its_own(name: str) -> None:
    """With x = 1 the gradient of w is what both dropouts left, so w says who kept what: of each
    pair of elements none, one or both are kept."""
    how: dict[str, Any] = {"loss": dl.MSE(), "optimizer": dl.SGD(1.0), "precision": "float64"}
    step = dl.compile(DROPPED[name](), 8, **how, memory="naive")
    drawn = streams(step.plan, dropout_forward)
    assert len(set(drawn)) == 2
    assert sorted(streams(step.plan, dropout_dgrad)) in ([], sorted(drawn))
    step.array("fc.weight")[...] = 0
    target = np.zeros((8, FEATURES))
    target[0] = -256.0
    step(np.ones((8, FEATURES)), target)
    left = -step.array("fc.weight")[0]
    assert len(np.unique(np.round(left / left.max(), 6))) == 3


@pytest.mark.parametrize("name", DROPPED)
def test_reports_and_files_tell_them_apart(name: str) -> None:
    plan = dl.plan(DROPPED[name](), 8)
    rows = [row.name for row in plan.summary().rows]
    assert len(rows) == len(set(rows)) == len(plan.graph.layers)
    assert [row.kind for row in plan.summary().rows].count("Dropout") == 2


def test_calls_that_only_add_gradients_drop_as_the_others_do() -> None:
    step = dl.compile(DROPPED["one name"](), 8, loss=dl.MSE(), accumulate=2)
    assert step.accumulation_plan is not None
    adding = [op for op in step.accumulation_plan.graph.ops if op.function is dropout_forward]
    assert [op.attributes["stream"] for op in adding] == streams(step.plan, dropout_forward)


def test_the_first_of_a_name_draws_what_it_always_drew() -> None:
    plan = dl.plan(DROPPED["one name"](), 8, memory="naive")
    assert streams(plan, dropout_forward)[0] == zlib.crc32(b"drop")


# -- variables -------------------------------------------------------------------------------------


def pair(first: dl.Layer, second: dl.Layer, *names: str | None, shape: Any = 4) -> dl.Network:
    x = dl.Input(shape)
    one, other = (layer(x, name=name) for layer, name in zip((first, second), names, strict=True))
    y = dl.Add()(one, other)
    return dl.Network(x, dl.Linear(2)(y if isinstance(shape, int) else dl.Flatten()(y), name="out"))


def shared(layer: dl.Layer, *names: str | None, shape: Any = 4) -> dl.Network:
    return pair(layer, layer, *names, shape=shape)


IMAGE = (3, 3, 2)
OUT = ["out.bias", "out.weight"]
STATISTICS = ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"]

KEYS: dict[str, tuple[Callable[[], dl.Network], list[str]]] = {
    "a layer without any before": (
        lambda: pair(dl.ReLU(), dl.Linear(4), "a", "a"),
        ["a.bias", "a.weight"],
    ),
    "a layer without any behind": (
        lambda: pair(dl.Linear(4), dl.ReLU(), "a", "a"),
        ["a.bias", "a.weight"],
    ),
    "statistics before": (
        lambda: pair(dl.BatchNorm2d(), dl.Dropout(), "a", "a", shape=IMAGE),
        [f"a.{name}" for name in STATISTICS],
    ),
    "statistics behind": (
        lambda: pair(dl.Dropout(), dl.BatchNorm2d(), "a", "a", shape=IMAGE),
        [f"a.{name}" for name in STATISTICS],
    ),
    "shared weights": (lambda: shared(dl.Linear(4), "a", "b"), ["a.bias", "a.weight"]),
    "shared weights, one name": (lambda: shared(dl.Linear(4), "a", "a"), ["a.bias", "a.weight"]),
    "shared weights, no name": (
        lambda: shared(dl.Linear(4), None, None),
        ["linear1.bias", "linear1.weight"],
    ),
    "shared statistics": (
        lambda: shared(dl.BatchNorm2d(), "a", "a", shape=IMAGE),
        [f"a.{name}" for name in STATISTICS],
    ),
}
"""Names of all variables, as state dicts have them, but those of `out`."""


@pytest.mark.parametrize("name", KEYS)
def test_names_of_variables_stay(name: str) -> None:
    build, names = KEYS[name]
    step = dl.compile(build(), 4)
    assert sorted(step.state_dict()) == sorted([*names, *OUT])


@dataclass(frozen=True)
class Equal(dl.Layer):
    """Scales by one number; equal to any other."""

    def output_shape(self, *inputs: tuple[int, ...]) -> tuple[int, ...]:
        return inputs[0]


class Twice(dl.Linear):
    """Asks for its weight twice."""

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        site.parameter("weight", (3, 3), dl.initial.constant(0.0))
        return super().lower(site, *inputs)


def two_sizes() -> dl.Network:
    x, fc = dl.Input(3), dl.Linear(4)
    return dl.Network(x, fc(fc(x, name="a"), name="b"))


REFUSED: dict[str, tuple[Callable[[], dl.Network], str]] = {
    "weights": (lambda: pair(dl.Linear(4), dl.Linear(4), "a", "a"), "two layers have a 'a.weight'"),
    "statistics": (
        lambda: pair(dl.BatchNorm2d(), dl.BatchNorm2d(), "a", "a", shape=IMAGE),
        "two layers have a 'a.weight'",
    ),
    "weights of two networks": (
        lambda: pair(dl.Sequential(dl.Linear(4)), dl.Sequential(dl.Linear(4)), "", ""),
        "two layers have a '0.weight'",
    ),
    "one layer, two sizes": (
        two_sizes,
        r"layer 'b'.*a.weight is float32 of \(4, 3\) at the layer's first place.*\(4, 4\) here",
    ),
    "layers that are equal": (lambda: pair(Equal(), Equal(), "a", "b"), "compared by identity"),
    "one layer, one name": (lambda: pair(Twice(4), dl.Linear(4), "a", "b"), "'a.weight' is asked"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_sharing_that_nobody_meant_is_refused(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises((dl.ArgumentError, dl.ShapeError), match=message):
        dl.plan(build(), 4)


# -- optimizers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts(dl.Optimizer):
    """One rule for the weights and another for the biases."""

    weights: dl.Optimizer = field(kw_only=True)
    biases: dl.Optimizer = field(kw_only=True)

    def lower(self, site: Site, w: Tensor, dw: Tensor, name: str) -> None:
        (self.biases if name == "bias" else self.weights).lower(site, w, dw, name)


class Doubled(dl.Adam):
    """Two updates with one state."""

    def lower(self, site: Site, w: Tensor, dw: Tensor, name: str) -> None:
        super().lower(site, w, dw, name)
        super().lower(site, w, dw, name)


RULES: dict[str, tuple[dl.Optimizer, str]] = {
    "one rate": (Parts(weights=dl.SGD(0.1), biases=dl.SGD(0.1, momentum=0.9)), ""),
    "two rates": (
        Parts(weights=dl.SGD(0.1), biases=dl.SGD(0.2)),
        "fc: 'learning_rate' begins with 0.2 here and with 0.1 elsewhere",
    ),
    "two rules, two rates": (Parts(weights=dl.Adam(), biases=dl.SGD(0.1)), "'learning_rate'"),
    "one state twice": (Doubled(), "'fc.weight.exp_avg' is asked for twice"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_step_has_one_learning_rate(name: str) -> None:
    optimizer, message = RULES[name]
    x = dl.Input(3)
    network = dl.Network(x, dl.Linear(2)(x, name="fc"))
    if not message:
        assert dl.compile(network, 2, optimizer=optimizer).learning_rate == np.float32(0.1)
        return
    with pytest.raises(dl.ArgumentError, match=message):
        dl.plan(network, 2, optimizer=optimizer)
