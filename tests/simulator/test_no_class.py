"""A label that is no class, should one get past the host: NaN comes out, nothing else is read."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl
from tests.layers.harness import SEED
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice
from tests.simulator.special import on_both

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

LIMITS = np.iinfo(np.int64)
NO_CLASS = (-1, 10, 11, -100, 2**31, 2**32 + 1, -(2**32), LIMITS.min, LIMITS.max)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_label_that_is_no_class_is_nan(smoothing: float, dtype: str) -> None:
    """The loss, and the gradient of that row alone; nothing else is read or written."""
    generator = np.random.default_rng(SEED)
    logits, labels = generator.normal(size=(12, 10)), generator.integers(10, size=12)
    rows = generator.permutation(12)[: len(NO_CLASS)]
    wrong = labels.copy()
    wrong[rows] = NO_CLASS
    right = on_both(lambda: dl.CrossEntropy(label_smoothing=smoothing), logits, labels, dtype=dtype)
    found = on_both(lambda: dl.CrossEntropy(label_smoothing=smoothing), logits, wrong, dtype=dtype)
    for here, there in zip(found, right, strict=True):
        assert np.isnan(here["layer.loss"])
        there["d:x0"][rows] = math.nan
        np.testing.assert_array_equal(here["d:x0"], there["d:x0"])


@pytest.mark.parametrize("label", [-1, 10, LIMITS.min])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_debug_names_the_row(device: str, label: int) -> None:
    """The target is checked where an op reads it: whatever wrote it there."""
    x = dl.Input(6)
    network = dl.Network(x, dl.Linear(10)(x))
    where = SimulatedDevice() if device == "cuda" else "cpu"
    step = dl.compile(network, 4, device=where, debug=True)
    step.put(np.ones((4, 6)), np.zeros(4, np.int64))
    step._program.arrays[step.plan.graph.inputs[-1]][2] = label
    with pytest.raises(
        dl.ArgumentError, match=rf"op \d+ loss\.\w+ reads target.* {label} in row 2"
    ):
        step.start()()
