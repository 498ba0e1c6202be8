"""Loaders: an epoch from any batch on is the rest of the epoch."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.data import batches
from minidl.ir import ArgumentError
from minidl.train import Feed, InOrder, Repeated, Shuffled, as_loader
from tests.train.small import made_images

IMAGES, LABELS = made_images(23)
LIST = list(InOrder(IMAGES, LABELS, 5).epoch(0))
LOADERS = [Shuffled(IMAGES, LABELS, 5, seed=3), InOrder(IMAGES, LABELS, 5), Repeated(LIST)]


@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: type(loader).__name__)
def test_an_epoch_from_any_batch_on(loader: Feed) -> None:
    whole = list(loader.epoch(2))
    assert len(whole) == len(loader)
    for start in range(len(loader) + 1):
        rest = list(loader.epoch(2, start))
        assert len(rest) == len(whole) - start
        for (a, b), (c, d) in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(a, c)
            np.testing.assert_array_equal(b, d)


def test_shuffled_is_the_batches_of_data() -> None:
    found = Shuffled(IMAGES, LABELS, 5, seed=3).epoch(1)
    for ours, theirs in zip(found, batches(IMAGES, LABELS, 5, seed=3, epoch=1), strict=True):
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_in_order_leaves_nothing_out() -> None:
    labels = np.concatenate([batch[1] for batch in InOrder(IMAGES, LABELS, 5).epoch(0)])
    np.testing.assert_array_equal(labels, LABELS)


def test_what_is_a_loader() -> None:
    assert as_loader(LOADERS[0]) is LOADERS[0]
    assert len(as_loader(LIST)) == 5
    with pytest.raises(ArgumentError, match="iterator"):
        as_loader(iter(LIST))
    endless = type("Endless", (), {"__iter__": lambda self: iter(LIST)})()
    with pytest.raises(ArgumentError, match="length"):
        as_loader(endless)
    assert len(list(Repeated(endless, length=3).epoch(0))) == 3


@pytest.mark.parametrize("given", [3, "ab", {"image": 1}, None, 2.5])
def test_a_batch_that_is_none_is_named_by_its_number(given: object) -> None:
    batches = as_loader([LIST[0], given])
    with pytest.raises(
        ArgumentError, match=r"batch 2 must be a tuple of arrays, got .*\(images, la"
    ):
        list(batches.epoch(0))
    with pytest.raises(ArgumentError, match="batch 2 must be"):
        list(batches.epoch(0, start=1))
