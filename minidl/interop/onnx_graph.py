"""An ONNX graph being written: nodes, initializers and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.interop.onnx_numbers import SAME, Arguments, Number
from minidl.interop.onnx_proto import onnx
from minidl.ir import ArgumentError, Array, Shape
from minidl.ir.features import Features, is_plain, places
from minidl.ir.graph import Variable
from minidl.layers.base import Layer


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph: NCHW where minidl has NHWC."""

    name: str
    shape: Shape
    """minidl's shape, with a batch of 1: (1, H, W, C) or (1, features)."""
    features: Features = ()
    """The order in which minidl has a vector's features; here it is PyTorch's."""


@dataclass(frozen=True, slots=True)
class Place:
    """A layer at one place of the network."""

    layer: Any
    name: str
    shape: Shape
    """Of its output: minidl's, with a batch of 1."""


@dataclass
class Graph:
    """What is written so far. `state` are arrays by PyTorch's names and layouts."""

    variables: Mapping[tuple[object, str], Variable]
    """By layer and its own name for it: what each tensor is called in the state dict."""
    state: Mapping[str, Array]
    opset: int
    nodes: list[Any] = field(default_factory=list)
    initializers: dict[str, Any] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    arguments: Arguments = field(default_factory=Arguments)
    taken: set[str] = field(default_factory=set)

    def fresh(self, name: str) -> str:
        """The name, or with a number behind it where it is taken."""
        count, free = 1, name
        while free in self.taken:
            count += 1
            free = f"{name}/{count}"
        self.taken.add(free)
        return free

    def node(self, op: str, inputs: list[str], at: Place, step: str = "", **how: Any) -> str:
        """Add a node of `at`, or one `step` of several; the name of its output."""
        name = f"{at.name}/{step}" if step else at.name
        output = self.fresh(name)
        self.nodes.append(onnx().helper.make_node(op, inputs, [output], name=name, **how))
        return output

    def number(self, at: Place, own: str, number: Number = SAME) -> float:
        """A layer's argument as an attribute."""
        return self.arguments.write(at.name, own, getattr(at.layer, own), number)

    def constant(self, name: str, array: Array) -> str:
        """The name of an initializer of that value."""
        free = self.fresh(name)
        self.initializers[free] = onnx().numpy_helper.from_array(np.asarray(array, order="C"), free)
        return free

    def parameter(self, layer: Layer, own: str) -> str:
        """The initializer of a layer's tensor; a layer that is used twice shares it."""
        name = self.variables[layer, own].name
        if name not in self.initializers:
            self.taken.add(name)
            array = np.asarray(self.state[name], np.float32, order="C")
            self.initializers[name] = onnx().numpy_helper.from_array(array, name)
        return name

    def minidl_order(self, x: Value, at: Place) -> str:
        """A value whose features are in minidl's order."""
        if len(x.shape) != 2 or is_plain(x.features):
            return x.name
        order = np.argsort(places(x.features))
        return self.node("Gather", [x.name, self.constant(f"{at.name}/order", order)], at, axis=1)

    def rename(self, old: str, new: str) -> None:
        """Call a value otherwise, wherever it stands."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == old:
                        names[i] = new


def bin_means(size: int, count: int) -> Array:
    """(count, size): row i has the mean over bin i of AdaptiveAvgPool2d along one axis."""
    means = np.zeros((count, size), np.float32)
    for i in range(count):
        low, high = i * size // count, -(-(i + 1) * size // count)
        means[i, low:high] = 1 / (high - low)
    return means


def unsupported(at: Place, why: str, hint: str = "") -> ArgumentError:
    said = f"layer {at.name!r}, {at.layer.brief()}: ONNX has no such operator: {why}"
    return ArgumentError(said, hint)
