"""Metrics: by hand, by sorting, and however the batches are cut."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from minidl.ir import ArgumentError, Array, ShapeError
from minidl.train import Evaluation, Metrics, measure
from minidl.train.metrics import MOST_CONFUSED
from tests.memory import bytes_of
from tests.train.small import CLASSES, compiled, made_images, validation


def measured(outputs: Array, targets: Array, cut: int) -> Evaluation:
    metrics = Metrics()
    for start in range(0, len(outputs), cut):
        metrics.add(outputs[start : start + cut], targets[start : start + cut])
    return metrics.result()


def drawn(count: int = 200, classes: int = 11) -> tuple[Array, Array]:
    generator = np.random.default_rng(2)
    outputs = generator.normal(size=(count, classes)).round(1).astype(np.float32)  # with ties
    return outputs, generator.integers(0, classes, count)


def test_top_k_by_sorting_every_row() -> None:
    outputs, labels = drawn()
    found = measured(outputs, labels, 200)
    orders = [sorted(range(11), key=lambda k, row=row: (-row[k], k)) for row in outputs]
    for k, share in ((1, found.top1), (5, found.top5)):
        right = sum(label in order[:k] for label, order in zip(labels, orders, strict=True))
        assert share == right / 200
    assert found.top1 == (outputs.argmax(axis=1) == labels).mean()


def test_confusion_counts_every_pair() -> None:
    outputs, labels = drawn()
    expected = np.zeros((11, 11), np.int64)
    for row, label in zip(outputs, labels, strict=True):
        expected[label, row.argmax()] += 1
    found = measured(outputs, labels, 200).confusion
    assert found is not None
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("cut", [1, 7, 64, 199])
def test_cuts_change_no_bit(cut: int) -> None:
    outputs, labels = drawn()
    whole, parts = measured(outputs, labels, 200), measured(outputs, labels, cut)
    assert (parts.loss, parts.top1, parts.top5) == (whole.loss, whole.top1, whole.top5)
    np.testing.assert_array_equal(parts.confusion, whole.confusion)


def test_loss_is_the_mean_cross_entropy() -> None:
    outputs, labels = drawn(20)
    exact = Fraction(0)
    for row, label in zip(outputs.astype(np.float64), labels, strict=True):
        exact += Fraction(math.log(sum(math.exp(x) for x in row)) - row[label])
    assert measured(outputs, labels, 20).loss == pytest.approx(float(exact / 20), rel=1e-14)


def test_large_outputs_do_not_overflow() -> None:
    outputs = np.array([[1000.0, 0, 0], [0, -1000, 1000]], np.float32)
    assert measured(outputs, np.array([0, 1]), 2).loss == 1000.0


def test_what_is_not_finite_is_never_right() -> None:
    nan, inf = np.nan, np.inf
    outputs = np.array([[nan, 0, 0], [0, nan, 0], [nan] * 3, [inf, 0, 0]])
    found = measured(outputs, np.array([0, 0, 2, 0]), 4)
    assert found.top1 == 0.25
    assert math.isnan(found.loss)


def test_fewer_than_five_classes() -> None:
    outputs, labels = drawn(10, classes=3)
    assert measured(outputs, labels, 10).top5 == 1.0


def test_other_targets_have_a_squared_error() -> None:
    found = measured(np.array([[1.0, 2], [3, 4]]), np.array([[0.0, 0], [3, 3]]), 1)
    assert found == Evaluation(2, (2.5 + 0.5) / 2)


def test_labels_that_do_not_fit() -> None:
    outputs, labels = drawn(4)
    with pytest.raises(ArgumentError, match=r"\[0, 11\)"):
        Metrics().add(outputs, labels + 11)
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        Metrics().add(outputs, labels[:3])
    with pytest.raises(ArgumentError, match="no images"):
        Metrics().result()


@pytest.mark.parametrize(
    ("classes", "matrix"),
    [
        (11, True),
        (MOST_CONFUSED, True),
        (MOST_CONFUSED + 1, False),
        (10_000, False),
        (21_841, False),
    ],
)
def test_memory_is_that_of_the_outputs_and_one_matrix(classes: int, matrix: bool) -> None:
    """At most five times the outputs, as float64, and the matrix once, however many batches."""
    generator = np.random.default_rng(2)
    outputs = generator.normal(size=(8, classes)).astype(np.float32)
    labels = generator.integers(0, classes, 8)
    found: list[Evaluation] = []
    held = bytes_of(lambda: found.append(measured_often(outputs, labels)))
    assert held <= 5 * 8 * outputs.size + matrix * 8 * classes**2 + 100_000
    assert found[0].top1 == (outputs.argmax(axis=1) == labels).mean()
    assert found[0].top5 is not None
    assert (found[0].confusion is not None) == matrix
    if found[0].confusion is not None:
        assert found[0].confusion.sum() == 24


def measured_often(outputs: Array, labels: Array) -> Evaluation:
    metrics = Metrics()
    for _ in range(3):
        metrics.add(outputs, labels)
    return metrics.result()


def test_measure_predicts_batches_of_any_size() -> None:
    step = compiled()
    found = measure(step, validation(14).epoch(0))
    images, labels = made_images(14, seed=6)
    assert found.count == 14
    assert found.top1 == (step.predict(images).argmax(axis=1) == labels).mean()
    assert found.confusion is not None
    assert found.confusion.shape == (CLASSES, CLASSES)
    assert found.confusion.sum() == 14
