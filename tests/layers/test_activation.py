"""Activations against their definitions, element by element in Python's `math`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minidl.ir import Array
from minidl.layers.activation import GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from minidl.ops.activation import normal_distribution, relu_dgrad
from tests.layers.harness import BadCase, Case, Check, each_check, each_refusal, refuses

IMAGE = ((2, 3, 3, 4),)
VECTORS = ((5, 37),)


def gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


def gelu_tanh(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def wide(generator: np.random.Generator, _: object) -> list[Array]:
    return [generator.permutation(np.linspace(-6.7, 6.9, 400)).reshape(2, 10, 10, 2)]


CASES = [
    Case("relu", ReLU, IMAGE, lambda x: np.where(x > 0, x, 0)),
    Case("relu-vectors", ReLU, VECTORS, lambda x: np.where(x > 0, x, 0)),
    Case("leaky-relu", LeakyReLU, IMAGE, lambda x: np.where(x > 0, x, x / 100)),
    Case("leaky-relu-steep", lambda: LeakyReLU(3), VECTORS, lambda x: np.where(x > 0, x, 3 * x)),
    Case("sigmoid", Sigmoid, IMAGE, np.vectorize(lambda x: 1 / (1 + math.exp(-x)))),
    Case("tanh", Tanh, VECTORS, np.vectorize(math.tanh)),
    Case("gelu", GELU, IMAGE, np.vectorize(gelu)),
    Case("gelu-wide", GELU, ((2, 10, 10, 2),), np.vectorize(gelu), draw=wide),
    Case("gelu-tanh", lambda: GELU(approximate="tanh"), VECTORS, np.vectorize(gelu_tanh)),
    Case("gelu-many", GELU, ((3, 21, 23, 29),), np.vectorize(gelu)),
    Case("sigmoid-many", Sigmoid, ((42021,),), np.vectorize(lambda x: 1 / (1 + math.exp(-x)))),
]

BAD = [
    BadCase("leaky-zero", lambda: LeakyReLU(0), VECTORS, "LeakyReLU: slope must be"),
    BadCase(
        "leaky-negative",
        lambda: LeakyReLU(-1),
        VECTORS,
        "slope must be a finite",
    ),
    BadCase(
        "leaky-nan",
        lambda: LeakyReLU(math.nan),
        VECTORS,
        "slope must be a finite",
    ),
    BadCase("gelu", lambda: GELU("erf"), VECTORS, "approximate must be one of"),  # type: ignore[arg-type]
]


@each_check(CASES)
def test_activation(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


def test_relu_cuts_gradients_to_positive_zero() -> None:
    dy, y = np.array([-1.0, 1.0, np.inf, -2.0]), np.array([0.0, 0.0, -0.0, 3.0])
    relu_dgrad(dy, dy, y)
    assert dy.tobytes() == np.array([0.0, 0.0, 0.0, -2.0]).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gelu_is_accurate_to_the_last_digits(dtype: str) -> None:
    x = np.linspace(-15, 15, 30001).astype(dtype)
    expected = np.array([math.erfc(-float(v) / math.sqrt(2)) / 2 for v in x])
    found = normal_distribution(x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * float(np.finfo(dtype).eps))


def test_extreme_values_stay_finite() -> None:
    x = np.array([-1e30, -200.0, 200.0, 1e30], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for layer, top in ((Sigmoid(), 1), (Tanh(), 1), (LeakyReLU(), 1e30)):
            y = np.empty_like(x)
            layer.functions()[0](y, x, **layer.attributes())
            assert y[-1] == np.float32(top)
