"""Special values in whole steps: every memory mode has the same bits, but for those of a NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.compiler.modes import MODES
from minidl.ir import Array
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.test_steps import BATCH, batches
from tests.training import Batch, variables

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

NAN, INF = math.nan, math.inf


def same_but_for_nan(one: Array, other: Array) -> bool:
    """The same bits; of NaN only that it is one: its sign and payload may differ."""
    if one.dtype.kind != "f":
        return one.tobytes() == other.tobytes()
    lost = np.isnan(one)
    return bool((lost == np.isnan(other)).all()) and one[~lost].tobytes() == other[~lost].tobytes()


def outcome(
    network: dl.Layer, memory: str, biases: Sequence[float], batch: Batch, device: Any
) -> dict[str, Array]:
    """Loss, variables and a prediction after one step whose first layer has these biases."""
    step = dl.compile(network, BATCH, memory=memory, optimizer=dl.SGD(0.05, 0.9), device=device)
    name = next(n for n in step.variables if n.endswith(".bias"))
    changed = step.array(name).copy()
    changed[: len(biases)] = biases
    step.load_variables(step.variables_dict() | {name: changed})
    loss = step(*batch)
    made = {name: array.copy() for name, array in variables(step).items()}
    return made | {"loss": np.array(loss), "prediction": step.predict(batch[0])}


def compare_modes(
    network: dl.Layer, biases: Sequence[float], batch: Batch, device: str
) -> dict[str, Array]:
    modes = MODES if device == "cpu" else ("naive", "arena")
    where = "cpu" if device == "cpu" else SimulatedDevice()
    made = {memory: outcome(network, memory, biases, batch, where) for memory in modes}
    for memory, arrays in made.items():
        for name, array in arrays.items():
            assert same_but_for_nan(array, made["naive"][name]), (memory, name)
    return made["naive"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["alexnet_shaped", "vgg_shaped"])
def test_features_of_minus_infinity(name: str, device: str) -> None:
    """ReLU and max-pool make 0 of them: all else is finite, so that every bit counts."""
    network = NETWORKS[name]()
    (batch,) = batches(network, 1)
    made = compare_modes(network, (-INF, 0.1, -INF, -1e-40), batch, device)
    assert np.isfinite(made["loss"])
    assert np.isfinite(made["prediction"]).all()
    assert np.isneginf(made["0.bias"]).sum() == 2


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["alexnet_shaped", "vgg_shaped"])
def test_images_with_nan_and_infinities(name: str, device: str) -> None:
    """Nearly nothing is finite after them, and NaN is where it is in every mode."""
    network = NETWORKS[name]()
    ((images, labels),) = batches(network, 1)
    images.reshape(BATCH, -1)[:2, [40, 41, 90]] = [[NAN, 1e38, -1e-40], [INF, -INF, NAN]]
    made = compare_modes(network, (), (images, labels), device)
    assert np.isnan(made["loss"])
    assert np.isnan(made["prediction"]).any()


def test_a_relu_stays_in_front_of_windows_beside_the_image() -> None:
    """Behind them it would make 0 of -infinity."""
    x = dl.Input((4, 4, 2))
    y = dl.ReLU()(dl.Conv2d(3, 4)(x))
    y = dl.Sigmoid()(dl.MaxPool2d(2, 1, padding=1, dilation=2)(y))
    network = dl.Network(x, dl.Linear(3)(dl.Flatten()(y), name="fc"))
    batch = np.ones((2, 4, 4, 2)), np.array([0, 1])
    for memory in MODES:
        step = dl.compile(network, 2, memory=memory)
        np.testing.assert_array_equal(
            step.predict(batch[0]), np.resize(step.array("fc.bias"), (2, 3))
        )
        assert math.isfinite(step(*batch))
