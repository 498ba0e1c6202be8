"""Special values: every op of the table agrees on both devices and with float64, see special.py.

The kernels are those of test_ops.py and test_steps.py; only the values differ, so that next to
nothing is compiled for this. What PyTorch 2.13 gives for a value is written down here;
docs/decisions/0023-special-values.md has the contract.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

import minidl as dl
from minidl.layers.base import Layer
from tests.layers.harness import Case
from tests.simulator.build import COMPILER
from tests.simulator.special import SIZE, differences, is_quick, on_both
from tests.simulator.test_ops import TABLE

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

NAN, INF = math.nan, math.inf

CASES = [
    pytest.param(
        stem, case, id=f"{stem}-{case.id}", marks=() if is_quick(case) else pytest.mark.slow
    )
    for stem, case in TABLE
    if max(math.prod(shape) for shape in case.shapes) <= SIZE
]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(("stem", "case"), CASES)
def test_both_devices_agree(stem: str, case: Case, precision: str) -> None:
    assert not differences(stem, case, precision)


# -- what PyTorch makes of them ------------------------------------------------------------------


GIVEN = (NAN, INF, -INF, 0.0, -0.0, 1e-40, -1e-40, 1e-38, -1e-38, 1e38, -1e38)
S = 0.01
ACTIVATIONS: dict[str, tuple[Callable[[], Layer], Sequence[float], Sequence[float]]] = {
    "relu": (
        dl.ReLU,
        (NAN, INF, 0, 0, 0, 1e-40, 0, 1e-38, 0, 1e38, 0),
        (1, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0),
    ),
    "leaky_relu": (
        dl.LeakyReLU,
        (NAN, INF, -INF, 0, 0, 1e-40, -1e-42, 1e-38, -1e-40, 1e38, -1e36),
        (S, 1, S, S, S, 1, S, 1, S, 1, S),
    ),
    "sigmoid": (
        dl.Sigmoid,
        (NAN, 1, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1, 0),
        (NAN, 0, 0, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0, 0),
    ),
    "tanh": (
        dl.Tanh,
        (NAN, 1, -1, 0, 0, 1e-40, -1e-40, 1e-38, -1e-38, 1, -1),
        (NAN, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0),
    ),
    "gelu": (  # at +inf PyTorch's CPU has NaN; x P(x) is +inf
        dl.GELU,
        (NAN, INF, NAN, 0, 0, 5e-41, -5e-41, 5e-39, -5e-39, 1e38, 0),
        (NAN, NAN, NAN, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1, 0),
    ),
    "gelu_tanh": (
        lambda: dl.GELU(approximate="tanh"),
        (NAN, INF, NAN, 0, 0, 5e-41, -5e-41, 5e-39, -5e-39, 1e38, 0),
        (NAN, NAN, NAN, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, NAN, NAN),
    ),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_as_pytorch(name: str) -> None:
    layer, y, dx = ACTIVATIONS[name]
    shape = (2, 3, 3, 4)
    for found in on_both(layer, np.resize(GIVEN, shape)):
        for tensor, expected in (("layer.y", y), ("d:x0", dx)):
            np.testing.assert_allclose(
                found[tensor], np.resize(expected, shape), rtol=1e-6, atol=3e-45, err_msg=tensor
            )


def test_a_relu_cuts_to_positive_zero_and_passes_what_nan_gets() -> None:
    x, dy = np.resize([NAN, -1.0, -0.0, -INF], (2, 3, 3, 4)), np.full((2, 3, 3, 4), -INF)
    for found in on_both(dl.ReLU, x, arriving=dy):
        np.testing.assert_array_equal(found["d:x0"], np.resize([-INF, 0, 0, 0], x.shape))
        assert not np.signbit(found["d:x0"][found["d:x0"] == 0]).any()


def test_max_pool_takes_the_last_nan() -> None:
    """PyTorch: of several NaN the last gets the gradient, of equals the first."""
    rows = [[NAN, 1, NAN, 2], [3, NAN, 1, 2], [-INF, -INF, -INF, -INF], [1, INF, INF, 0]]
    y, taps = [NAN, NAN, -INF, INF], [2, 1, 0, 1]
    x = np.array(rows).reshape(4, 2, 2, 1) * np.ones(3)
    for found in on_both(lambda: dl.MaxPool2d(2), x):
        np.testing.assert_array_equal(found["layer.y"][:, 0, 0], np.outer(y, np.ones(3)))
        taken = found["d:x0"].reshape(4, 4, 3)
        np.testing.assert_array_equal(taken, np.eye(4)[taps][:, :, None] * np.ones(3))


def test_a_window_beside_the_image_is_minus_infinity() -> None:
    """As in PyTorch; its gradient goes nowhere."""
    for found in on_both(lambda: dl.MaxPool2d(2, 1, padding=1, dilation=2), np.ones((2, 1, 1, 3))):
        np.testing.assert_array_equal(found["layer.y"], np.full((2, 1, 1, 3), -INF))
        np.testing.assert_array_equal(found["d:x0"], np.zeros((2, 1, 1, 3)))


BATCH_NORM = {
    "infinite": ((INF, 1, 2, 3), (NAN,) * 4, NAN, NAN),  # PyTorch's CPU: a running mean of inf
    "large mean": (
        (1e20, 1e20, 1.0001e20, 1e20),
        (-0.57658845, -0.57658845, 1.7328122, -0.57658845),
        1.0000251e19,
        2.5005796e30,
    ),
    "squares overflow": ((1e38, 1, 2, 3), (0, 0, 0, 0), 2.5e36, INF),
    "nan": ((NAN, 1, 2, 3), (NAN,) * 4, NAN, NAN),
}


def test_batch_norm_as_pytorch() -> None:
    """Channel by channel; a mean over 1.8e19, whose square overflows, is as good as another."""
    x = np.array([column for column, *_ in BATCH_NORM.values()]).T.reshape(4, 1, 1, 4)
    for found in on_both(dl.BatchNorm2d, x, arriving=np.resize((1.0, 2, 3, 5), (4, 1, 1, 4))):
        for i, (name, (_, y, mean, var)) in enumerate(BATCH_NORM.items()):
            np.testing.assert_allclose(found["layer.y"][:, 0, 0, i], y, rtol=1e-3, err_msg=name)
            np.testing.assert_allclose(found["layer.running_mean"][i], mean, rtol=1e-5)
            np.testing.assert_allclose(found["layer.running_var"][i], var, rtol=1e-3)


ENTROPY: list[tuple[Sequence[float], dict[float, Sequence[float]]]] = [
    ((-INF, 0.5, 1), {0: (INF, 0.97407699), 0.1: (INF, INF), 1: (NAN, INF)}),
    ((-3e38, 3e38, 3e38), {0: (INF, 0.69314718), 0.1: (INF, INF), 1: (NAN, INF)}),
    ((INF, 0, 0), {0: (NAN, NAN), 0.1: (NAN, NAN), 1: (NAN, NAN)}),
    ((-INF, -INF, -INF), {0: (NAN, NAN), 0.1: (NAN, NAN), 1: (NAN, NAN)}),
    ((NAN, 0, 0), {0: (NAN, NAN), 0.1: (NAN, NAN), 1: (NAN, NAN)}),
]
"""Logits, and for each label smoothing PyTorch's losses for labels 0 and 1."""


@pytest.mark.parametrize("smoothing", [0, 0.1, 1])
@pytest.mark.parametrize(("logits", "losses"), ENTROPY, ids=[str(row) for row, _ in ENTROPY])
def test_cross_entropy_as_pytorch(
    logits: Sequence[float], losses: dict[float, Sequence[float]], smoothing: float
) -> None:
    with np.errstate(all="ignore"):
        exponents = np.exp(np.subtract(logits, max(logits)))
        softmax = exponents / exponents.sum()
    for label, expected in enumerate(losses[smoothing]):
        target = (1 - smoothing) * np.eye(3)[label] + smoothing / 3
        layer = lambda: dl.CrossEntropy(label_smoothing=smoothing)  # noqa: E731
        for found in on_both(layer, np.array([logits]), np.array([label])):
            np.testing.assert_allclose(found["layer.loss"], expected, rtol=1e-6)
            np.testing.assert_allclose(found["d:x0"], [softmax - target], rtol=1e-5, atol=1e-7)
