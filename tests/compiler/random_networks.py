"""Random networks for property tests: DAGs of every layer, shared layers, branches read often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st

import minidl as dl
from minidl.ir import Shape, ShapeError
from minidl.ir.features import Features, Given, features_after, features_of
from minidl.layers.base import Layer, Node

Drawn = TypeVar("Drawn")
Draw = Callable[[st.SearchStrategy[Drawn]], Drawn]
CLASSES = 3


def optimizers() -> st.SearchStrategy[dl.Optimizer]:
    decay = st.sampled_from([0.0, 5e-4])
    momentum = st.sampled_from([0.0, 0.9])
    return st.one_of(
        st.builds(dl.SGD, st.just(0.01), momentum, weight_decay=decay),
        st.builds(dl.SGD, st.just(0.01), st.just(0.9), weight_decay=decay, nesterov=st.just(True)),
        st.builds(dl.Adam, st.just(1e-3), weight_decay=decay),
        st.builds(dl.AdamW, st.just(1e-3), weight_decay=decay),
    )


@st.composite
def networks(draw: Draw[Any], smooth: bool = False, most: int = 12) -> tuple[dl.Network, int]:
    """A network and a batch. smooth: every derivative is continuous, for finite differences."""
    sides, channels = st.integers(3, 9), st.integers(1, 4)
    image = draw(sides), draw(sides), draw(channels)
    growth = Growth(draw, draw(st.integers(2, 4)), image, smooth)
    for _ in range(draw(st.integers(1, most))):
        growth.grow()
    return growth.network(), growth.batch


class Growth:
    """A DAG that grows by one layer at a time; shapes include the batch."""

    def __init__(self, draw: Draw[Any], batch: int, image: Shape, smooth: bool) -> None:
        self.draw, self.batch, self.smooth = draw, batch, smooth
        self.input = dl.Input(image)
        self.shape: dict[Node, Shape] = {self.input: (batch, *image)}
        self.features = {self.input: features_of(image)}
        self.reads: dict[Layer, Features] = {}
        """In which order a Linear's inputs have their features."""
        self.unread: list[Node] = [self.input]
        self.shared: list[tuple[Layer, int]] = []
        """Layers with parameters, and the last dimension of the inputs that they fit."""

    def grow(self) -> None:
        """One more layer, two where it is used twice; nothing where the drawn one does not fit."""
        x = self.pick(list(self.shape))
        image = len(self.shape[x]) == 4
        grows = [self.activation, self.add, self.concat, self.again, self.dropout, self.trainable]
        if image:
            grows += [self.pool, self.pool, self.normalization, self.trainable, self.flatten]
        self.one_of(grows)(x)

    def network(self) -> dl.Network:
        """All that nobody read yet, each through a Linear of its own, summed."""
        ends = [self.linear(x) for x in self.unread]
        output = dl.Add()(*ends) if len(ends) > 1 else ends[0]
        return dl.Network(self.input, output)

    def linear(self, x: Node) -> Node:
        flat = x if len(self.shape[x]) == 2 else dl.Flatten()(x)
        return dl.Linear(CLASSES)(flat)

    # -- one layer --------------------------------------------------------------------------------

    def trainable(self, x: Node) -> None:
        shape = self.shape[x]
        if len(shape) == 2:
            layer: Layer = dl.Linear(self.number(1, 9), bias=self.yes())
        else:
            groups = self.one_of([g for g in (1, 2, 3) if not shape[3] % g])
            layer = dl.Conv2d(
                groups * self.number(1, 4),
                (self.number(1, 3), self.number(1, 3)),
                stride=self.number(1, 2),
                padding=self.number(0, 2),
                dilation=self.number(1, 2),
                groups=groups,
                bias=self.yes(),
            )
        if self.use(layer, x) is not None:
            self.shared.append((layer, shape[-1]))

    def again(self, x: Node) -> None:
        """A layer with parameters at one more place, or one on its own output."""
        fitting = [layer for layer, last in self.shared if last == self.shape[x][-1]]
        if fitting and self.yes():
            self.use(self.pick(fitting), x)
            return
        width = self.shape[x][-1]
        layer = dl.Linear(width) if len(self.shape[x]) == 2 else dl.Conv2d(width, 3, padding=1)
        y = self.use(layer, x)
        if y is not None:
            self.use(layer, y)

    def activation(self, x: Node) -> None:
        layers: list[Layer] = [dl.Tanh(), dl.Sigmoid(), dl.GELU(), dl.GELU("tanh")]
        if not self.smooth:
            layers += [dl.LeakyReLU(0.1), dl.ReLU(), dl.ReLU(), dl.ReLU(), dl.ReLU()]
        self.use(self.pick(layers), x)

    def pool(self, x: Node) -> None:
        kernel, stride, padding = self.number(1, 3), self.number(1, 3), self.number(0, 1)
        padding, ceil_mode = min(padding, kernel // 2), self.yes()
        layers: list[Layer] = [
            dl.AvgPool2d(
                kernel, stride, padding, ceil_mode=ceil_mode, count_include_pad=self.yes()
            ),
            dl.AdaptiveAvgPool2d((self.number(1, 4), self.number(1, 4))),
        ]
        if not self.smooth:
            layers += [dl.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)] * 3
        self.use(self.pick(layers), x)

    def normalization(self, x: Node) -> None:
        layers: list[Layer] = [dl.BatchNorm2d(), dl.LocalResponseNorm(self.number(1, 5), 0.1)]
        self.use(self.pick(layers), x)

    def dropout(self, x: Node) -> None:
        self.use(dl.Dropout(self.one_of([0.0, 0.2, 0.5])), x)

    def flatten(self, x: Node) -> None:
        self.use(dl.Flatten(), x)

    def add(self, x: Node) -> None:
        """Two or three of one shape, among them perhaps one tensor twice."""
        fitting = [y for y, shape in self.shape.items() if shape == self.shape[x]]
        more = [self.pick(fitting) for _ in range(self.number(1, 2))]
        self.use(dl.Add(), x, *more)

    def concat(self, x: Node) -> None:
        fitting = [y for y, shape in self.shape.items() if shape[:-1] == self.shape[x][:-1]]
        more = [self.pick(fitting) for _ in range(self.number(1, 2))]
        if sum(self.shape[y][-1] for y in (x, *more)) <= 40:
            self.use(dl.Concat(), x, *more)

    def use(self, layer: Layer, *inputs: Node) -> Node | None:
        """The layer at `inputs`, unless shapes, or the order of features, do not fit there."""
        given = [Given("", self.shape[x], self.features[x]) for x in inputs]
        try:
            shape = layer.output_shape(*(x.shape for x in given))
            features = features_after(layer.order, given, shape)
        except ShapeError:
            return None
        order = given[0].features
        if isinstance(layer, dl.Linear) and self.reads.setdefault(layer, order) != order:
            return None
        y = layer(*inputs)
        self.shape[y], self.features[y] = shape, features
        self.unread = [node for node in self.unread if node not in inputs] + [y]
        return y

    # -- draws ------------------------------------------------------------------------------------

    def pick(self, among: list[Drawn]) -> Drawn:
        """One of them; the latest is the simplest."""
        return self.one_of(among[::-1])

    def one_of(self, among: list[Drawn]) -> Drawn:
        """One of them; the first is the simplest."""
        chosen: Drawn = self.draw(st.sampled_from(among))
        return chosen

    def number(self, low: int, high: int) -> int:
        drawn: int = self.draw(st.integers(low, high))
        return drawn

    def yes(self) -> bool:
        drawn: bool = self.draw(st.booleans())
        return drawn


def described(network: dl.Network) -> str:
    """The network as text: one line a node, inputs by their line."""
    line = {node: i for i, node in enumerate(network.nodes)}
    return "\n".join(
        f"{i}: {node.layer!r} of {[line[x] for x in node.inputs]}" if node.layer else f"{i}: input"
        for node, i in line.items()
    )
