"""Losses against their definitions, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from minidl.ir import ArgumentError, Array, Shape, ShapeError
from minidl.layers.loss import MSE, CrossEntropy, Loss
from tests.layers.harness import (
    BadCase,
    Bench,
    Case,
    Check,
    each_check,
    each_refusal,
    refuses,
    spread,
)


def cross_entropy(smoothing: float = 0.0) -> Callable[[Array, Array], float]:
    def reference(logits: Array, labels: Array) -> float:
        n, classes = logits.shape
        total = 0.0
        for i in range(n):
            z = sum(math.exp(v) for v in logits[i])
            for k in range(classes):
                target = (1 - smoothing) * (labels[i] == k) + smoothing / classes
                total -= target * math.log(math.exp(logits[i, k]) / z)
        return float(total / n)

    return reference


def mse(prediction: Array, target: Array) -> float:
    pairs = zip(prediction.ravel(), target.ravel(), strict=True)
    return math.fsum((p - t) ** 2 for p, t in pairs) / prediction.size


def logits_and_labels(generator: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
    logits, labels = shapes
    return [2 * spread(generator, logits), generator.integers(logits[1], size=labels)]


def entropy_case(name: str, n: int, classes: int, smoothing: float = 0.0) -> Case:
    return Case(
        name,
        lambda: CrossEntropy(label_smoothing=smoothing),
        ((n, classes), (n,)),
        cross_entropy(smoothing),
        draw=logits_and_labels,
    )


def mse_case(name: str, *shape: int) -> Case:
    return Case(name, MSE, (shape, shape), mse, differentiable=(0,))


CASES = [
    entropy_case("entropy", 4, 10),
    entropy_case("entropy-smoothed", 3, 7, 0.1),
    entropy_case("entropy-flat", 5, 3, 1.0),
    entropy_case("entropy-one-class", 3, 1),
    entropy_case("entropy-chunks", 70, 1000, 0.2),
    mse_case("mse", 5, 9),
    mse_case("mse-images", 2, 3, 5, 2),
    mse_case("mse-chunks", 3, 22003),
]

BAD = [
    BadCase("image", CrossEntropy, ((2, 3, 3, 4), (2,)), "needs a prediction (batch, classes)"),
    BadCase("labels", CrossEntropy, ((2, 4), (3,)), "the target must have shape (2,), got (3,)"),
    BadCase("onehot", CrossEntropy, ((2, 4), (2, 4)), "the target must have shape (2,)"),
    BadCase(
        "smoothing",
        lambda: CrossEntropy(label_smoothing=1.5),
        ((2, 4), (2,)),
        "CrossEntropy: label_smoothing must be",
    ),
    BadCase("mse", MSE, ((2, 4), (2, 1)), "the target must have shape (2, 4), got (2, 1)"),
]


@each_check(CASES)
def test_loss(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


def test_large_logits_do_not_overflow() -> None:
    def draw(*_: object) -> list[Array]:
        return [np.array([[1e4, -1e4], [1e4, -1e4]]), np.array([0, 1])]

    case = Case("large", CrossEntropy, ((2, 2), (2,)), lambda logits, labels: 1e4, draw=draw)
    bench = Bench.of(case, "float32")
    memory = bench.backward(bench.forward())
    assert memory[bench.output] == np.float32(1e4)
    expected = np.array([[0, 0], [0.5, -0.5]])
    np.testing.assert_array_equal(memory[bench.site.gradients[bench.inputs[0]]], expected)


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_outside_of_the_classes_are_refused(label: int) -> None:
    CrossEntropy().check(np.array([0, 9]), (2, 10))
    with pytest.raises(ArgumentError, match=rf"\[0, 10\).*got {label}"):
        CrossEntropy().check(np.array([0, label]), (2, 10))


def test_targets() -> None:
    losses: list[tuple[Loss, tuple[Shape, str | None]]] = [
        (CrossEntropy(), ((8,), "int64")),
        (MSE(), ((8, 10), None)),
    ]
    for loss, target in losses:
        assert loss.target((8, 10)) == target
    with pytest.raises(ShapeError):
        CrossEntropy().target((8, 1, 1, 10))
