"""Where transforms look: inside of the image, spread as they should be, the same each time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from minidl.data import CentreCrop, PadCrop, RandomResizedCrop, evaluation, normalised, training
from minidl.data.decode import seen_of_array
from minidl.data.recipe import STREAM, words_of
from minidl.ir import ArgumentError
from minidl.ops.normalize import normalize_forward
from minidl.philox import random_words
from tests.data.images import pixels

SIZES = [(375, 500), (500, 333), (1, 1), (1, 900), (900, 1), (224, 224), (32, 32)]


def words(count: int, images: int = 200) -> list[list[int]]:
    found: list[list[int]] = words_of(3, 1, range(images), count).tolist()
    return found


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_random_resized_crop_stays_inside(height: int, width: int) -> None:
    transform = RandomResizedCrop(224)
    for of_one in words(transform.words):
        left, top, right, bottom = transform.view(height, width, of_one).box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert all(edge == int(edge) for edge in (left, top, right, bottom))


def test_random_resized_crop_is_spread_as_asked() -> None:
    transform = RandomResizedCrop(224)
    views = [transform.view(600, 600, of_one) for of_one in words(transform.words, 4000)]
    boxes = np.array([view.box for view in views])
    wide, tall = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share, ratio = wide * tall / 600**2, np.log(wide / tall)
    assert 0.07 < share.min() < 0.1
    assert 0.95 < share.max() <= 1
    # Regions that do not fit are drawn again: a little less than the middle of [0.08, 1].
    assert 0.46 < share.mean() < 0.5
    assert abs(ratio.mean()) < 0.02
    assert math.log(3 / 4) - 0.02 < ratio.min() < ratio.max() < math.log(4 / 3) + 0.02
    assert 0.47 < np.mean([view.flip for view in views]) < 0.53
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert np.allclose(centres.mean(0), 300, atol=6)


def test_random_resized_crop_falls_back_to_the_centre() -> None:
    transform = RandomResizedCrop(10, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    assert transform.view(100, 300, words(transform.words)[0]).box == (100, 0, 200, 100)
    assert transform.view(300, 100, words(transform.words)[0]).box == (0, 100, 100, 200)


def test_pad_crop_shifts_by_every_distance_alike() -> None:
    transform = PadCrop(32)
    shifts = [transform.view(32, 32, of_one).shift for of_one in words(4, 8000)]
    for counts in (np.unique(side, return_counts=True) for side in np.array(shifts).T):
        assert counts[0].tolist() == list(range(-4, 5))
        assert counts[1].min() > 750
    assert transform.view(32, 32, words(4)[0]).box == (0, 0, 32, 32)
    assert transform.view(32, 64, words(4)[0]).box == (16, 0, 48, 32)


@pytest.mark.parametrize(
    ("height", "width"), [(375, 500), (640, 480), (256, 256), (300, 225), (401, 997)]
)
def test_centre_crop_is_resize_and_crop(height: int, width: int) -> None:
    image = pixels(height, width)
    got = seen_of_array(image, evaluation(224).view(height, width, []), "x").astype(int)
    scale = 256 / min(height, width)
    size = (int(width * scale), int(height * scale))
    resized = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224))).astype(int)
    assert abs(got - expected).max() <= 1


def test_small_images_are_shown_whole_and_padded() -> None:
    assert isinstance(training(32), PadCrop)
    assert isinstance(training(224), RandomResizedCrop)
    image = pixels(32, 32)
    assert np.array_equal(seen_of_array(image, evaluation(32).view(32, 32, []), "x"), image)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomResizedCrop(0),
        lambda: RandomResizedCrop(8, scale=(0.0, 1.0)),
        lambda: RandomResizedCrop(8, scale=(0.9, 0.1)),
        lambda: RandomResizedCrop(8, ratio=(0.0, 1.0)),
        lambda: PadCrop(8, pad=8),
        lambda: PadCrop(-1),
        lambda: CentreCrop(8, shorter=7),
    ],
)
def test_settings_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(ArgumentError):
        make()  # type: ignore[operator]


def test_words_depend_on_seed_epoch_and_image_alone() -> None:
    some = words_of(5, 2, [7, 3, 2**40], 44)
    assert some.shape == (3, 44)
    assert np.array_equal(some[1], words_of(5, 2, [3], 44)[0])
    assert not np.array_equal(some[1], words_of(5, 3, [3], 44)[0])
    assert not np.array_equal(some[1], words_of(6, 2, [3], 44)[0])
    assert not np.array_equal(some[1], words_of(5 + 2**32, 2, [3], 44)[0])
    assert np.array_equal(
        words_of(5, 2, [0], 4)[0], random_words(0, 4, key=5, step=2, stream=STREAM)
    )


def test_normalised_is_what_the_layer_does() -> None:
    images = pixels(6, 7)[np.newaxis]
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    expected = np.empty(images.shape, np.float32)
    normalize_forward(expected, images, mean=mean, std=std)
    got = normalised(images, mean, std)
    assert got.dtype == np.float32
    assert np.array_equal(got, expected)
