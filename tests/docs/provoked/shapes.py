"""Shapes, batches and labels."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import minidl as dl
from tests.docs.provoked.cases import compiled, images, labels, network, raises


@raises("### Images are NCHW")
def nchw(_: pytest.MonkeyPatch) -> object:
    return compiled()(images().transpose(0, 3, 1, 2), labels())


@raises("### The last batch is smaller")
def last_batch(_: pytest.MonkeyPatch) -> object:
    return compiled()(images(3), labels(3))


@raises("### One image without a batch")
def one_image(_: pytest.MonkeyPatch) -> object:
    return compiled().predict(images()[0])


@raises("### A label is out of range")
def out_of_range(_: pytest.MonkeyPatch) -> object:
    return compiled()(images(), labels() + 7)


@raises("### Labels are one-hot, or floats")
def one_hot(_: pytest.MonkeyPatch) -> object:
    return compiled()(images(), np.eye(10)[labels()])


@raises("### Labels are one-hot, or floats")
def float_labels(_: pytest.MonkeyPatch) -> object:
    return compiled()(images(), labels().astype(np.float32))


@raises("### The network has no input")
def no_input(_: pytest.MonkeyPatch) -> object:
    return dl.compile(dl.Sequential(dl.Flatten(), dl.Linear(10)), batch=4)


@raises("### A Linear behind an image")
def no_flatten(_: pytest.MonkeyPatch) -> object:
    return dl.plan(dl.Sequential(dl.Input((8, 8, 3)), dl.Conv2d(4, 3), dl.Linear(10)), batch=4)


@raises("### Features in two orders")
def mixed_sum(_: pytest.MonkeyPatch) -> object:
    x = dl.Input((8, 8, 3))
    left = dl.Linear(192)(dl.Flatten()(x), name="left")
    y = dl.Add()(left, dl.Flatten()(x), name="sum")
    return dl.plan(dl.Network(x, dl.Linear(10)(y)), batch=4)


@raises("### Features in two orders")
def shared_by_two(_: pytest.MonkeyPatch) -> object:
    x, layer = dl.Input((8, 8, 3)), dl.Linear(192)
    y = layer(layer(dl.Flatten()(x), name="first"), name="second")
    return dl.plan(dl.Network(x, dl.Linear(10)(y)), batch=4)


class Twice(dl.Layer):
    """A layer of one's own that does not say its order."""

    def output_shape(self, *inputs: tuple[int, ...]) -> tuple[int, ...]:
        return inputs[0]

    def lower(self, site: Any, *inputs: Any) -> Any:
        return site.activation(inputs[0].shape)

    def __repr__(self) -> str:
        return "Twice()"


@raises("### Features in two orders")
def order_not_said(_: pytest.MonkeyPatch) -> object:
    net = dl.Sequential(dl.Input((8, 8, 3)), dl.Flatten(), Twice(), dl.Linear(10))
    return dl.plan(net, batch=4)


@raises("### A kernel larger than the image")
def large_kernel(_: pytest.MonkeyPatch) -> object:
    return dl.plan(dl.Sequential(dl.Input((8, 8, 3)), dl.Conv2d(4, 11), dl.Flatten()), batch=4)


@raises("### A layer is called with an array")
def eager(_: pytest.MonkeyPatch) -> object:
    return dl.Linear(10)(cast(Any, images()))


@raises("### A batch that is none")
def batch_of_none(_: pytest.MonkeyPatch) -> object:
    return dl.plan(network(), batch=0)
