"""The bundled digits, and batches of them."""

from __future__ import annotations

import numpy as np
import pytest

from minidl import ArgumentError
from minidl.data import batches, digits
from minidl.data.digits import _resized


def test_digits_are_all_there_split_once_and_scaled() -> None:
    data = digits((64, 64, 3))
    assert data.train_images.shape == (1438, 64, 64, 3)
    assert data.test_images.shape == (359, 64, 64, 3)
    assert data.train_images.dtype == np.float32
    both = np.concatenate([data.train_labels, data.test_labels])
    assert np.bincount(both).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    everything = np.concatenate([data.train_images, data.test_images])
    assert abs(float(everything.mean())) < 0.01
    assert np.array_equal(everything[..., 0], everything[..., 2])


def test_no_test_image_is_trained_on() -> None:
    data = digits((8, 8, 1))
    train = {image.tobytes() for image in data.train_images}
    assert sum(image.tobytes() in train for image in data.test_images) == 0


def test_size_8_is_the_data_itself_and_doubling_keeps_means() -> None:
    small, large = digits((8, 8, 1)), digits((16, 16, 1))
    values = np.unique(np.concatenate([small.train_images, small.test_images]).round(4))
    assert len(values) == 17
    inner = large.train_images[:, 1:-1, 1:-1, 0].reshape(-1, 7, 2, 7, 2).mean((2, 4))
    expected = small.train_images[..., 0]
    mixed = (
        expected[:, :-1, :-1] + expected[:, 1:, :-1] + expected[:, :-1, 1:] + expected[:, 1:, 1:]
    ) / 4
    assert np.allclose(inner, mixed, atol=1e-5)


def test_images_grow_from_their_pixels_centres() -> None:
    values = np.array([[[0.0], [4.0]]])
    assert _resized(values, 1, 4).ravel().tolist() == [0, 1, 3, 4]
    for size in (1, 2, 8):
        values = np.random.default_rng().normal(size=(3, size))
        assert np.array_equal(_resized(values, 1, size), values)


def test_batches_depend_on_seed_and_epoch_alone_and_repeat_nothing() -> None:
    images, labels = np.arange(10).reshape(10, 1, 1, 1), np.arange(10)
    first = [list(y) for _, y in batches(images, labels, 3, seed=1, epoch=0)]
    assert first == [list(y) for _, y in batches(images, labels, 3, seed=1, epoch=0)]
    assert first != [list(y) for _, y in batches(images, labels, 3, seed=1, epoch=1)]
    assert first != [list(y) for _, y in batches(images, labels, 3, seed=2, epoch=0)]
    assert len(first) == 3
    assert len({i for batch in first for i in batch}) == 9
    for x, y in batches(images, labels, 3, seed=1, epoch=0):
        assert np.array_equal(x.reshape(-1), y)


def test_an_image_of_no_size_is_refused() -> None:
    with pytest.raises(ArgumentError, match="image must be three, each a whole"):
        digits((0, 8, 1))
