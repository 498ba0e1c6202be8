"""Random networks as ONNX models: every layer, outputs of any form, bytes as inputs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import minidl as dl
from minidl.interop.onnx_proto import NEWEST_OPSET
from minidl.ir import Shape
from minidl.layers.base import Node
from tests.compiler.random_networks import Draw, Growth


@st.composite
def exports(draw: Draw[Any]) -> tuple[dl.Network, int, dict[str, Any]]:
    """A network, a batch, and the arguments of `export_onnx`."""
    sides, channels = st.integers(3, 9), st.integers(1, 4)
    growth = Exported(draw, 2, (draw(sides), draw(sides), draw(channels)))
    for _ in range(draw(st.integers(1, 8))):
        growth.grow()
    how = {
        "opset": draw(st.integers(17, NEWEST_OPSET)),
        "channels_last": growth.yes(),
        "probabilities": growth.yes(),
    }
    return growth.network(), growth.batch, how


class Exported(Growth):
    """What ONNX can say: also layers that no training test draws, and outputs that are no sum."""

    def __init__(self, draw: Draw[Any], batch: int, image: Shape) -> None:
        super().__init__(draw, batch, image, smooth=False)
        if self.yes():
            return
        self.input = x = dl.Input(image, dtype="uint8")
        self.shape, self.features, self.unread = {}, {x: self.features.popitem()[1]}, []
        self.shape[x] = (batch, *image)
        self.normalize(x, (100.0, 30.0))
        del self.shape[x]  # bytes are read by Normalize alone

    def normalization(self, x: Node) -> None:
        drawn = self.number(0, 2)
        if drawn == 0:
            self.normalize(x)
            return
        size = self.one_of([1, 3, 5])
        self.use(dl.BatchNorm2d() if drawn == 1 else dl.LocalResponseNorm(size, 0.1), x)

    def normalize(self, x: Node, stds: tuple[float, float] = (3.0, 0.7)) -> None:
        """By one constant, or by one for each channel."""
        width = self.shape[x][-1]
        each = tuple(float(i % 7) for i in range(width))
        self.use(dl.Normalize(each if self.yes() else 0.3, self.one_of([*stds])), x)

    def activation(self, x: Node) -> None:
        if self.number(0, 3):
            super().activation(x)
        else:
            self.use(self.pick([dl.GELU(), dl.GELU("tanh")]), x)

    def flatten(self, x: Node) -> None:
        """Once in a while what reads a flattened image is no Linear."""
        flat = self.use(dl.Flatten(), x)
        if flat is not None and self.yes():
            self.one_of([self.normalize, self.concat, self.activation])(flat)

    def pool(self, x: Node) -> None:
        """Also dilated, and padding that is counted where windows hang over the edge."""
        if self.yes():
            super().pool(x)
        else:
            over = dl.AvgPool2d(self.number(2, 3), self.number(2, 3), 1, ceil_mode=True)
            dilated = dl.MaxPool2d(2, self.number(1, 2), 1, self.number(1, 2))
            self.use(self.pick([dilated, over]), x)

    def network(self) -> dl.Network:
        """The sum of all, or what one layer gives: an image, one that is flattened, a vector."""
        layers = [node for node in self.unread if self.computes(node)]
        if not layers or self.yes():
            return super().network()
        output = self.pick(layers)
        if len(self.shape[output]) == 4 and self.yes():
            output = dl.Flatten()(output)
        return dl.Network(self.input, output)

    def computes(self, node: Node) -> bool:
        """Whether a layer behind it has an op: a network without any has nothing to plan."""
        views = (dl.Flatten, dl.Dropout, dl.AdaptiveAvgPool2d)
        own = node.layer is not None and not isinstance(node.layer, views)
        return own or any(self.computes(x) for x in node.inputs)
