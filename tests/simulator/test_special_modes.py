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
from tests.simulator.device import COMPILER, SimulatedDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.special import classes
from tests.simulator.test_steps import BATCH, batches, options
from tests.training import variables

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


def outcome(network: dl.Layer, memory: str, batch: Any, **how: Any) -> dict[str, Array]:
    """Loss, variables and a prediction after one step whose first layer has biases of `how`."""
    biases = how.pop("biases")
    step = dl.compile(network, BATCH, memory=memory, **how)
    name = next(n for n in step.variables if n.endswith(".bias"))
    changed = step.array(name).copy()
    changed[: len(biases)] = biases
    step.load_variables(step.variables_dict() | {name: changed})
    loss = step(*batch)
    made = {name: array.copy() for name, array in variables(step).items()}
    return made | {"loss": np.array(loss), "prediction": step.predict(batch[0])}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["alexnet_shaped", "vgg_shaped", "googlenet_shaped"])
@pytest.mark.parametrize("special", ["biases", "pictures"])
def test_modes_have_the_same_bits_but_for_nan(special: str, name: str, device: str) -> None:
    """Features of -infinity, which ReLU and max-pool make 0 of, so that all else is finite; or
    pictures with NaN and infinities, after which nearly nothing is."""
    network = NETWORKS[name]()
    ((pictures, labels),) = batches(network, 1)
    biases: Sequence[float] = (-INF, 0.1, -INF, -1e-40) if special == "biases" else ()
    if special == "pictures":
        pictures.reshape(BATCH, -1)[:2, [40, 41, 90]] = [[NAN, 1e38, -1e-40], [INF, -INF, NAN]]
    how = options(name, device=SimulatedDevice() if device == "cuda" else "cpu", biases=biases)
    naive, *others = (
        outcome(network, memory, (pictures, labels), **how)
        for memory in ("naive", "arena", *(["liveness", "fujitsu2016"] if device == "cpu" else []))
    )
    lost = np.isnan(naive["loss"])
    assert lost == (special == "pictures")
    assert classes(naive["prediction"]).any() == lost
    for other in others:
        for key, array in naive.items():
            assert same_but_for_nan(array, other[key]), key


def test_a_relu_stays_in_front_of_windows_beside_the_picture() -> None:
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
