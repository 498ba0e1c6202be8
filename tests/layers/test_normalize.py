"""Normalization by constants, and images that come as bytes."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.ir import Array
from minidl.layers.normalize import Normalize
from minidl.ops.normalize import normalize_forward
from tests.layers.harness import BadCase, Case, Check, each_check, each_refusal, refuses
from tests.training import train

MEAN, STD = (0.5, -1.0, 2.0), (0.25, 2.0, 3.0)


def reference(x: Array) -> Array:
    return np.stack([(x[..., c] - MEAN[c]) / STD[c] for c in range(3)], axis=-1)


CASES = [
    Case("normalize", lambda: Normalize(MEAN, STD), ((2, 3, 4, 3),), reference),
    Case("normalize-all", lambda: Normalize(3.0, 0.5), ((3, 5),), lambda x: (x - 3.0) / 0.5),
]

BAD = [
    BadCase(
        "normalize-channels",
        lambda: Normalize(MEAN, STD),
        ((2, 3, 4, 5),),
        "mean has 3 numbers, and the input 5 channels",
    )
]


@each_check(CASES)
def test_normalize(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.0), (0.0, (1.0, -1.0)), (float("nan"), 1.0)])
def test_bad_constants(mean: float, std: float) -> None:
    with pytest.raises(
        dl.ArgumentError,
        match=r"(std|mean) must be a .* number, or one for each",
    ):
        Normalize(mean, std)


def test_bytes() -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), np.uint8)
    y = np.full(x.shape, np.nan, np.float32)
    normalize_forward(y, x, mean=MEAN, std=STD)
    np.testing.assert_allclose(y, reference(x.astype(np.float64)), rtol=1e-6, atol=1e-6)


def network(dtype: str | None) -> dl.Network:
    x = dl.Input((12, 12, 3), dtype=dtype)
    y = dl.ReLU()(dl.Conv2d(4, 3, padding=1)(Normalize(128.0, 64.0)(x)))
    y = dl.ReLU()(dl.Conv2d(4, 3, padding=1)(y))
    return dl.Network(x, dl.Linear(3)(dl.Flatten()(y)))


def test_bytes_train_to_the_bits_of_the_same_floats() -> None:
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (4, 12, 12, 3), np.uint8)
    labels = generator.integers(0, 3, 4)
    expected = train(network(None), [(images.astype(np.float32), labels)] * 3, "naive")
    for memory in ("naive", "arena", "fujitsu2016"):
        assert train(network("uint8"), [(images, labels)] * 3, memory, debug=True) == expected


def test_the_input_has_a_quarter_of_the_bytes() -> None:
    plan = dl.plan(network("uint8"), 8, device="cuda")
    (images,) = (t for t in plan.graph.inputs if t.name == "input")
    assert (images.dtype, images.nbytes) == ("uint8", 8 * 12 * 12 * 3)


@pytest.mark.parametrize(
    ("pixel", "words"), [(256, r"\[0, 255\]"), (-1, r"\[0, 255\]"), (0.5, "integers")]
)
def test_what_is_no_byte_is_refused(pixel: float, words: str) -> None:
    step = dl.compile(network("uint8"), 2)
    images = np.zeros((2, 12, 12, 3), np.float64 if pixel == 0.5 else np.int64)
    images[1, 2, 3, 0] = pixel
    with pytest.raises(dl.ArgumentError, match=words):
        step(images, np.zeros(2, int))
    assert step.steps == 0


def test_a_network_of_floats_takes_bytes() -> None:
    plain = dl.models.lenet(3, (28, 28, 1))
    images = np.random.default_rng(2).integers(0, 256, (2, 28, 28, 1), np.uint8)
    of_bytes = dl.compile(dl.from_bytes(plain, 100.0, 50.0), 2, seed=4)
    of_floats = dl.compile(plain, 2, seed=4)
    assert of_bytes.state_dict().keys() == of_floats.state_dict().keys()
    floats = (images.astype(np.float32) - 100) * np.float32(1 / 50)
    np.testing.assert_array_equal(of_bytes.predict(images), of_floats.predict(floats))
    two = dl.Network([dl.Input((2,)), y := dl.Input((2,))], dl.ReLU()(y))
    with pytest.raises(dl.ArgumentError, match="2 inputs"):
        dl.from_bytes(two, 0.0, 1.0)
