"""Linear against one dot product for each output."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array, Lowering, Tensor
from minidl.layers.flatten import Flatten
from minidl.layers.linear import Linear
from tests.layers.harness import BadCase, Case, Check, each_check, each_refusal, refuses


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = np.zeros((len(x), len(weight)))
    for n, f in np.ndindex(y.shape):
        y[n, f] = (x[n] * weight[f]).sum() + (0 if bias is None else bias[f])
    return y


CASES = [
    Case("small", lambda: Linear(5), ((3, 7),), linear),
    Case("no-bias", lambda: Linear(5, bias=False), ((3, 7),), linear),
    Case("one", lambda: Linear(1), ((1, 1),), linear),
    Case("one-sample", lambda: Linear(10), ((1, 65),), linear),
    Case("tiles", lambda: Linear(300), ((5, 1100),), linear),
    Case("batch-over-parts", lambda: Linear(9), ((131, 6),), linear),
]

BAD = [
    BadCase("image", lambda: Linear(5), ((2, 3, 3, 4),), "needs 2 dimensions (batch, features)"),
    BadCase("none", lambda: Linear(0), ((2, 4),), "features must be a whole number"),
]


@each_check(CASES)
def test_linear(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


def test_weights_behind_a_flatten_in_pytorch_layout_and_back() -> None:
    lowering = Lowering(2)
    x = Tensor("x", (2, 3, 4, 5), "float32", "activation")
    flat = Flatten().apply(lowering, "flatten", x)
    Linear(6, bias=False).apply(lowering, "linear", flat)
    (weight,) = lowering.variables.values()
    array = np.arange(6 * 60).reshape(6, 60)
    stored = weight.to_torch(array)
    image = np.random.default_rng(0).integers(9, size=(3, 4, 5))
    expected = array @ image.ravel()
    np.testing.assert_array_equal(stored @ image.transpose(2, 0, 1).ravel(), expected)
    np.testing.assert_array_equal(weight.from_torch(stored), array)
