"""In which order a sample's features lie: minidl flattens images as HWC, PyTorch as CHW.

The order is a fact of a tensor: `Features`, the blocks that lie in it one behind the other,
(height, width, channels) of an image, (count,) of features that have one order only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from minidl.ir.errors import ShapeError
from minidl.ir.graph import Array
from minidl.ir.tensor import Shape

Features = tuple[Shape, ...]

Order = Literal["", "same", "new", "joined"]
"""What a layer does to the order of its inputs' features: see `minidl.layers.base.Layer.order`."""


def features_of(sample: Shape) -> Features:
    """Of a sample that is no flattened image; one pixel or one channel has one order only."""
    if len(sample) == 3 and sample[0] * sample[1] > 1 and sample[2] > 1:
        return (sample,)
    return ((math.prod(sample),),)


def is_plain(features: Features) -> bool:
    """Whether the order is the same in PyTorch."""
    return len(features) == 1 and len(features[0]) == 1


def joined(parts: Iterable[Features]) -> Features:
    """The parts one behind the other; vectors side by side are one."""
    blocks: list[Shape] = []
    for block in (block for part in parts for block in part):
        if blocks and len(blocks[-1]) == len(block) == 1:
            block = (blocks.pop()[0] + block[0],)
        blocks.append(block)
    return tuple(blocks)


class Given(NamedTuple):
    """An input of a layer."""

    name: str
    shape: Shape
    features: Features


def features_after(order: Order, inputs: Sequence[Given], shape: Shape) -> Features:
    """Of a layer's output of that shape; ShapeError where the orders of the inputs do not fit
    together, or the layer does not say what becomes of them. Images keep theirs by themselves."""
    vector = len(shape) == 2
    orders = [x.features for x in inputs if vector or len(x.shape) == 2]
    if vector and order == "joined":
        return joined(orders)
    if vector and order == "same":
        if len(set(orders)) > 1:
            raise _refused("its inputs' features lie in different orders", inputs, SAME_ORDER)
        if count_of(orders[0]) != shape[1]:
            said = f'it has order = "same" and makes other features, {shape[1]}'
            raise _refused(said, inputs, SAY_ORDER)
        return orders[0]
    if order == "" and len(shape) > 1 and not all(map(is_plain, orders)):
        said = "it does not say in which order its output's features lie"
        raise _refused(said, inputs, SAY_ORDER)
    return features_of(shape[1:])


def _refused(said: str, inputs: Sequence[Given], hint: str) -> ShapeError:
    each = "; ".join(f"{x.name} is {described(x.features)}" for x in inputs)
    return ShapeError(f"{said}: {each}", hint)


SAME_ORDER = (
    "put a Linear behind each image that is flattened, or merge images before they are: PyTorch "
    "flattens them as (C, H, W), minidl as (H, W, C), and would pair other features"
)
SAY_ORDER = (
    'give the class order = "same" where each feature of the output is of that of the input, or '
    '"new" where its features are its own: docs/adding_a_layer.md'
)


def count_of(features: Features) -> int:
    return sum(map(math.prod, features))


def described(features: Features) -> str:
    """The blocks in words."""
    words = [f"a vector of {b[0]}" if len(b) == 1 else f"an image {b}, flattened" for b in features]
    return ", then ".join(words)


def places(features: Features) -> Array:
    """For each feature, in PyTorch's order, its place in minidl's."""
    found, start = [], 0
    for block in features:
        own = np.arange(start, start + math.prod(block)).reshape(block)
        found.append((own.transpose(2, 0, 1) if own.ndim == 3 else own).reshape(-1))
        start += own.size
    return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class ToTorch:
    """An array along whose `axis` features lie, in PyTorch's order."""

    axis: int
    features: Features

    def __call__(self, array: Array) -> Array:
        return np.take(array, places(self.features), self.axis)


@dataclass(frozen=True, slots=True)
class FromTorch:
    """The way back."""

    axis: int
    features: Features

    def __call__(self, array: Array) -> Array:
        return np.take(array, np.argsort(places(self.features)), self.axis)


def order_in_words(to_torch: object, count: int) -> str:
    """The order that `count` features have which a variable lies along."""
    own = to_torch.features if isinstance(to_torch, ToTorch) else ((count,),)
    return described(own)
