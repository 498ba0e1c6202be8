"""Add, Concat and Flatten."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.ir import Array, Lowering, Tensor
from minidl.layers.base import Layer
from minidl.layers.flatten import Flatten
from minidl.layers.merge import Add, Concat
from tests.layers.harness import BadCase, Case, Check, each_check, each_refusal, refuses

IMAGE = (2, 3, 3, 4)


def add(*inputs: Array) -> Array:
    total = np.zeros_like(inputs[0])
    for x in inputs:
        total += x
    return total


def concat(*inputs: Array) -> Array:
    return np.concatenate(inputs, axis=-1)


def flatten(x: Array) -> Array:
    return np.stack([image.ravel() for image in x])


CASES = [
    Case("add", Add, (IMAGE, IMAGE), add),
    Case("add-four", Add, (IMAGE,) * 4, add),
    Case("add-vectors", Add, ((3, 17),) * 3, add),
    Case("concat", Concat, ((2, 3, 3, 4), (2, 3, 3, 1)), concat),
    Case("concat-four", Concat, ((2, 5, 3, 3), (2, 5, 3, 1), (2, 5, 3, 7), (2, 5, 3, 2)), concat),
    Case("concat-chunks", Concat, ((9, 17, 19, 23), (9, 17, 19, 11)), concat),
    Case("concat-vectors", Concat, ((3, 17), (3, 5)), concat),
    Case("flatten", Flatten, ((3, 5, 7, 2),), flatten),
    Case("flatten-one", Flatten, ((1, 1, 1, 1),), flatten),
]

BAD = [
    BadCase("add-one", Add, (IMAGE,), "needs two or more inputs, got 1"),
    BadCase("add-shapes", Add, (IMAGE, (2, 3, 3, 5)), "same shape"),
    BadCase("add-no-broadcast", Add, (IMAGE, (1, 3, 3, 4)), "same shape"),
    BadCase("concat-one", Concat, (IMAGE,), "needs two or more inputs, got 1"),
    BadCase("concat-width", Concat, (IMAGE, (2, 3, 4, 4)), "but for the channels"),
    BadCase("concat-rank", Concat, (IMAGE, (2, 4)), "but for the channels"),
    BadCase("flatten-vector", Flatten, ((2, 5),), "needs 4 dimensions"),
]


@each_check(CASES)
def test_merge(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


@pytest.mark.parametrize("layer", [Add(), Concat()])
def test_one_tensor_twice_has_two_gradients(layer: Layer) -> None:
    x = Tensor("x", IMAGE, "float32", "activation")
    lowering = Lowering(2)
    layer.apply(lowering, "sum", x, x)
    again, merged = lowering.sites
    first, second = merged.forward_ops[0].reads
    assert first is x
    assert second is not x
    assert second.storage is x
    assert {x, second} <= merged.gradients.keys()
    assert x in again.gradients


def test_add_and_flatten_have_no_gradient_op() -> None:
    lowering = Lowering(2)
    a, b = (Tensor(name, IMAGE, "float32", "activation") for name in "ab")
    y = Flatten().apply(lowering, "flatten", Add().apply(lowering, "sum", a, b))
    added, flat = lowering.sites
    assert not added.backward_ops
    assert not flat.backward_ops
    assert not flat.forward_ops
    assert lowering.features_of(y) == ((3, 3, 4),)
    assert added.gradients[a].storage is added.gradients[b].storage
