"""Bad input is refused with an error that says where; nothing is written, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.ir import ArgumentError, Array, NotFiniteError, ShapeError
from tests.training import random_batches, state_bits

BATCH, IMAGE, CLASSES = 4, (6, 6, 2), 3


def network() -> dl.Network:
    x = dl.Input(IMAGE)
    y = dl.Dropout()(dl.ReLU()(dl.Conv2d(4, 3)(x, name="conv")))
    return dl.Network(x, dl.Linear(CLASSES)(dl.Flatten()(y), name="fc"))


def good() -> tuple[Array, Array]:
    (drawn,) = random_batches(np.random.default_rng(1), BATCH, IMAGE, CLASSES, count=1)
    return drawn


def with_value(array: Array, value: float) -> Array:
    changed = array.copy()
    changed.reshape(-1)[5] = value
    return changed


X, Y = good()

BAD_CALLS: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "another batch": (X[:3], Y[:3], ShapeError, r"input.*\(4, 6, 6, 2\).*\(3, 6, 6, 2\)"),
    "another image": (np.zeros((4, 7, 6, 2)), Y, ShapeError, r"\(4, 7, 6, 2\)"),
    "channels first": (X.transpose(0, 3, 1, 2), Y, ShapeError, r"\(4, 2, 6, 6\).*NHWC"),
    "flat": (X.reshape(4, -1), Y, ShapeError, r"\(4, 72\)"),
    "a number": (1.0, Y, ShapeError, r"\(\)"),
    "too few labels": (X, Y[:3], ShapeError, r"target.*\(4,\).*\(3,\)"),
    "one hot": (X, np.eye(3)[Y], ShapeError, r"target.*\(4, 3\)"),
    "a label too large": (X, np.array([0, 3, 1, 2]), ArgumentError, r"3"),
    "a label below zero": (X, np.array([0, -1, 1, 2]), ArgumentError, r"-1"),
    "labels of floats": (X, Y.astype(np.float32), ArgumentError, r"integer.*float32"),
    "labels of words": (X, np.array(list("abcd")), ArgumentError, r"integer"),
    "images of words": (np.full(X.shape, "a"), Y, ArgumentError, r"input"),
    "complex images": (X + 1j, Y, ArgumentError, r"input.*complex"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_refused_call_changes_nothing(name: str) -> None:
    images, labels, error, message = BAD_CALLS[name]
    asked, other = (dl.compile(network(), BATCH) for _ in range(2))
    assert asked(X, Y) == other(X, Y)
    before = state_bits(asked)
    with pytest.raises(error, match=message):
        asked(images, labels)
    assert state_bits(asked) == before
    assert asked.steps == 1
    assert asked(X, Y) == other(X, Y)
    assert state_bits(asked) == state_bits(other)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 5, 6, 2)), np.zeros((2, 6, 6)), np.zeros(()), np.zeros((0, 6, 6, 3))]
)
def test_predict_refuses_other_shapes(images: Array) -> None:
    step = dl.compile(network(), BATCH)
    before = state_bits(step)
    with pytest.raises(ShapeError, match="input"):
        step.predict(images)
    assert state_bits(step) == before


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite(value: float) -> None:
    step = dl.compile(network(), BATCH, check_finite=True)
    step(X, Y)
    before = state_bits(step)
    with pytest.raises(NotFiniteError, match=rf"step 2: input holds {value} at element 5"):
        step(with_value(X, value), Y)
    assert state_bits(step) == before
    assert np.isfinite(step(X, Y))


def test_a_target_that_is_not_finite() -> None:
    step = dl.compile(network(), BATCH, loss=dl.MSE(), check_finite=True)
    before = state_bits(step)
    with pytest.raises(NotFiniteError, match=r"step 1: target holds nan at element 5"):
        step(X, with_value(np.zeros((BATCH, CLASSES)), np.nan))
    assert state_bits(step) == before


@pytest.mark.filterwarnings("error")
def test_the_first_op_that_is_not_finite_is_named() -> None:
    step = dl.compile(network(), BATCH, check_finite=True, optimizer=dl.SGD(1e38))

    def diverge() -> None:
        for _ in range(3):
            step(1e3 * X, Y)

    with pytest.raises(NotFiniteError, match=r"step \d: op \d+ \w*\.?\w+.* wrote -?(inf|nan) to"):
        diverge()


@pytest.mark.filterwarnings("error")
def test_without_the_check_a_nan_goes_through() -> None:
    step = dl.compile(network(), BATCH)
    assert np.isnan(step(with_value(X, np.nan), Y))


# -- networks that do not fit ----------------------------------------------------------------------


def chain(*layers: dl.Layer, image: tuple[int, ...] = (6, 6, 2)) -> dl.Sequential:
    return dl.Sequential(dl.Input(image), *layers)


BAD_NETWORKS: dict[str, tuple[Callable[[], dl.Layer], str]] = {
    "window": (lambda: chain(dl.ReLU(), dl.Conv2d(4, 7)), r"layer '1', Conv2d\(.*height 6"),
    "pool": (lambda: chain(dl.MaxPool2d(7)), r"layer '0', MaxPool2d\(.*height 6"),
    "groups": (lambda: chain(dl.Conv2d(4, 3, groups=4)), r"layer '0'.*groups=4 must divide"),
    "features": (lambda: chain(dl.Conv2d(3, 3, groups=2)), r"layer '0'.*3 features"),
    "flat": (lambda: chain(dl.Linear(4)), r"layer '0', Linear.*needs 2 dimensions"),
    "loss": (lambda: chain(dl.ReLU()), r"CrossEntropy.*needs a prediction \(batch, classes\)"),
    "alexnet": (lambda: dl.models.alexnet(image=(62, 62, 3)), r"layer 'features\.12', MaxPool2d"),
    "alexnet_2012": (lambda: dl.models.alexnet_2012(image=(64, 64, 3)), r"'features\.14', MaxPool"),
    "vgg16": (lambda: dl.models.vgg16(image=(31, 32, 3)), r"layer 'features\.30', MaxPool2d"),
    "vgg11_bn": (lambda: dl.models.vgg11_bn(image=(32, 16, 3)), r"'features\.28', MaxPool2d"),
    "lenet": (lambda: dl.models.lenet(image=(12, 12, 1)), r"layer '3', Conv2d"),
}


@pytest.mark.parametrize("shape", [(), 0, -1, (4, 0, 3), (-1, 4, 3)])
def test_an_input_has_something_in_every_dimension(shape: Any) -> None:
    with pytest.raises(ShapeError, match="Input: shape must be one or more whole"):
        dl.Input(shape)


@pytest.mark.parametrize("build", [dl.plan, dl.compile])
@pytest.mark.parametrize("name", BAD_NETWORKS)
def test_a_network_that_does_not_fit_names_the_layer(
    name: str, build: Callable[..., object]
) -> None:
    network, message = BAD_NETWORKS[name]
    with pytest.raises(ShapeError, match=message):
        build(network(), 2)


def test_resnet_names_the_batch_norm_of_one_value() -> None:
    network = dl.models.resnet18(image=(32, 32, 3))
    with pytest.raises(ShapeError, match=r"layer 'layer4\.0\.bn1', BatchNorm2d.*at least 2 values"):
        dl.plan(network, 1)
    dl.plan(network, 2)


# -- arguments -------------------------------------------------------------------------------------

BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no batch": ({"batch": 0}, r"batch must be a whole number of at least 1, got 0"),
    "negative batch": ({"batch": -3}, r"batch must be a whole number of at least 1, got -3"),
    "device": ({"device": "tpu"}, r"device 'tpu'"),
    "precision": ({"precision": "int4"}, r"precision 'int4'"),
    "tf32 on cpu": ({"precision": "tf32"}, r"'tf32'"),
    "memory": ({"memory": "tiny"}, r"memory mode 'tiny'"),
    "alignment": ({"alignment": 100}, r"alignment .*got 100"),
    "small alignment": ({"alignment": 8}, r"alignment .*got 8"),
    "scratch": (
        {"scratch_limit": 0},
        r"scratch_limit must be .*, at least 1, got 0",
    ),
}


@pytest.mark.parametrize("build", [dl.plan, dl.compile])
@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments(name: str, build: Callable[..., object]) -> None:
    arguments, message = BAD_ARGUMENTS[name]
    with pytest.raises(ArgumentError, match=message):
        build(network(), **{"batch": BATCH} | arguments)


def test_a_network_needs_the_shape_of_its_input() -> None:
    with pytest.raises(ArgumentError, match=r"give the input's shape"):
        dl.plan(dl.Sequential(dl.Linear(3)), 2)


def test_two_layers_of_one_name_are_refused() -> None:
    """Their weights could not be told apart in a state dict."""
    x = dl.Input(3)
    y = dl.Linear(3)(dl.Linear(3)(x, name="fc"), name="fc")
    with pytest.raises(ArgumentError, match=r"fc"):
        dl.compile(dl.Network(x, y), 2)


def test_an_unknown_variable_names_those_there_are() -> None:
    step = dl.compile(network(), BATCH)
    with pytest.raises(ArgumentError, match=r"'conv.wait'.*conv\.weight"):
        step.array("conv.wait")


# -- memory ----------------------------------------------------------------------------------------


def test_an_arena_larger_than_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("allocated")

    needed = dl.plan(network(), BATCH).arena_bytes
    monkeypatch.setattr("minidl.devices.cpu.available_memory", lambda: needed - 1)
    with monkeypatch.context() as patch:
        patch.setattr("minidl.devices.cpu.allocate", refused)
        with pytest.raises(dl.ArenaTooLargeError, match=r"the arena needs .*KiB.* has .*KiB free"):
            dl.compile(network(), BATCH)
    monkeypatch.setattr("minidl.devices.cpu.available_memory", lambda: needed)
    dl.compile(network(), BATCH)
    monkeypatch.setattr("minidl.devices.cpu.available_memory", lambda: None)
    dl.compile(network(), BATCH)


def test_a_network_with_a_cycle() -> None:
    x = dl.Input((4, 4, 3))
    y = dl.ReLU()(x)
    z = dl.Conv2d(3, 1)(y)
    object.__setattr__(y, "inputs", (z,))
    with pytest.raises(dl.ArgumentError, match="cycle through ReLU"):
        dl.Network(x, z)


def test_an_arena_that_is_too_large_says_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    net = dl.models.lenet(10, (32, 32, 1))
    limit = dl.plan(net, 100).arena_bytes
    monkeypatch.setattr("minidl.devices.cpu.available_memory", lambda: limit)
    with pytest.raises(dl.ArenaTooLargeError) as caught:
        dl.compile(net, 400)
    text = str(caught.value)
    batch = int(text.split("batch ")[1].split()[0])
    assert dl.plan(net, batch).arena_bytes <= limit
    assert dl.plan(net, batch + 1).arena_bytes > limit
    assert "budget" in text
    dl.compile(net, 100)
