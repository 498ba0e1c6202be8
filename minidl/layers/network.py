"""Network and Sequential: layers composed into a DAG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from minidl.ir import ArgumentError, Lowering, MinidlError, Shape, Tensor
from minidl.ir.calls import called
from minidl.ir.features import described, is_plain
from minidl.ir.printed import never_raises
from minidl.ir.readers import Reader, UnfitError, either, instance, several, short
from minidl.ir.site import Call
from minidl.ir.warned import warn_caller
from minidl.layers.base import Input, Layer, Node
from minidl.layers.listing import layer_list, layer_table, weights_by_place

__all__ = ["Input", "Network", "Sequential"]


FEW = 8
"""Names of layers in one line."""
LAYER = instance(Layer)
NODE = replace(
    instance(Node),
    what="an Input or a layer's output",
    hint="write x = dl.Input(shape), y = layer(x), Network(x, y)",
)


def _child(name: object, layer: Any) -> Any:
    try:
        return LAYER.read(layer)
    except UnfitError:
        hint = "unpack a list: Sequential(*layers)" if isinstance(layer, (list, tuple)) else ""
        raise UnfitError(f"child {name} must be a Layer, got {short(layer)}", hint) from None


def _children(layers: tuple[Any, ...]) -> tuple[Layer | Node, ...]:
    first = layers[:1] if layers and isinstance(layers[0], Node) else ()
    rest = layers[len(first) :]
    return (*first, *(_child(i, layer) for i, layer in enumerate(rest)))


def _by_name(layers: dict[str, Any]) -> dict[str, Layer]:
    return {name: _child(name, layer) for name, layer in layers.items()}


Part = tuple[Layer, str, tuple[Tensor, ...]]
"""A layer to lower, under which name, and what it reads."""

AT_ONCE = 16
"""Layers in layers that a copy or a pickle goes into; what lies deeper it has met before."""


class Composed(Layer):
    """Layers made of layers, which may be of layers again, to any depth: nothing here recurses."""

    height = 0
    """How deep layers lie in layers."""
    steps: tuple[Composed, ...] = ()
    """The nearest of the layers within whose height is a multiple of `AT_ONCE`."""

    def close(self) -> None:
        """Once it is known what lies in it."""
        inner = [layer for layer in self.nested() if isinstance(layer, Composed)]
        self.height = 1 + max((layer.height for layer in inner), default=0)
        found = (layer.steps if layer.height % AT_ONCE else (layer,) for layer in inner)
        self.steps = tuple(dict.fromkeys(step for steps in found for step in steps))

    def nested(self) -> Iterable[Layer]:
        """The layers right in this one."""
        raise NotImplementedError

    def parts(self, name: str, inputs: tuple[Tensor, ...]) -> Generator[Part, Tensor, Tensor]:
        """Yields what to lower, is sent its output, and returns its own."""
        raise NotImplementedError

    def apply(self, lowering: Lowering, name: str, *inputs: Tensor) -> Tensor:
        within, output = {self: self.parts(name, inputs)}, None
        while True:
            now = next(reversed(within))
            try:
                layer, own, given = _following(within[now], output)
            except StopIteration as done:
                output = done.value
                del within[now]
                if not within:
                    return cast(Tensor, output)
                continue
            if not isinstance(layer, Composed) or type(layer).apply is not Composed.apply:
                output = layer.apply(lowering, own, *given)
            elif layer in within:
                raise ArgumentError(f"layer {own!r}, {layer.brief()}, lies in itself")
            else:
                within[layer], output = layer.parts(own, given), None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles meet what lies deep inside first, so that layers in layers in layers
        are no deep recursion. One layer in `AT_ONCE` lists all of it, which is enough."""
        deep = list(self.steps) if self.height % AT_ONCE else _deep(self)
        return {"deep": deep, **vars(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: value for name, value in state.items() if name != "deep"})


def _following(parts: Generator[Part, Tensor, Tensor], output: Tensor | None) -> Part:
    return next(parts) if output is None else parts.send(output)


def _deep(top: Composed) -> list[Composed]:
    """Every step on the way down from `top`, the deepest first."""
    found, waiting = dict.fromkeys(top.steps), list(top.steps)
    while waiting:
        fresh = [step for step in waiting.pop().steps if step not in found]
        found.update(dict.fromkeys(fresh))
        waiting += fresh
    return sorted(found, key=lambda layer: layer.height)


@called(readers={"layers": Reader("layers", _children), "named": Reader("layers", _by_name)})
class Sequential(Composed):
    """Layers one after the other, named "0", "1", ... or by keyword; a Sequential is a layer too.

    `Sequential(Input((8, 8, 1)), Conv2d(16, 3), ReLU())` is a whole network;
    `Sequential(features=Sequential(...), classifier=Sequential(...))` names as PyTorch does.
    """

    def __init__(self, *layers: Layer | Node, **named: Layer) -> None:
        first = layers[0] if layers else None
        self.input = first if isinstance(first, Node) else None
        rest = layers[1:] if self.input is not None else layers
        numbered = {str(i): cast(Layer, layer) for i, layer in enumerate(rest)}
        self.children: dict[str, Layer] = {**numbered, **named}
        self.close()

    def nested(self) -> Iterable[Layer]:
        return self.children.values()

    def parts(self, name: str, inputs: tuple[Tensor, ...]) -> Generator[Part, Tensor, Tensor]:
        for child, layer in self.children.items():
            inputs = ((yield layer, join(name, child), inputs),)
        return inputs[0]

    def brief(self) -> str:
        names = list(self.children)
        few = names if len(names) <= FEW else [*names[: FEW - 1], "...", names[-1]]
        return f"Sequential({', '.join(few)})"

    @never_raises
    def __repr__(self) -> str:
        """A table of the layers; without an Input nobody knows their outputs."""
        if not self.children:
            return "Sequential()"
        return _printed("Sequential", self, self.children.items())


@called(
    "write Network(x, y): what the network reads, and its output",
    {"inputs": either(NODE, several(NODE)), "output": NODE},
    outputs="output",
)
class Network(Composed):
    """A DAG: everything that `output` reads, down to `inputs`."""

    def __init__(self, inputs: Node | Sequence[Node], output: Node, name: str = "network") -> None:
        self.inputs = (inputs,) if isinstance(inputs, Node) else tuple(inputs)
        self.output = output
        self.name = name
        self.nodes = _reachable(output)
        missing = [n for n in self.nodes if n.layer is None and n not in self.inputs]
        if missing:
            raise ArgumentError(f"Network: the output reads an Input {missing[0].shape} not given")
        cyclic = [
            n.layer for n in self.nodes if n.layer and any(i.born >= n.born for i in n.inputs)
        ]
        if cyclic:
            raise ArgumentError(
                f"Network: there is a cycle through {cyclic[0].brief()}: a layer's output may not "
                "be read by what it depends on"
            )
        if not any(n.layer is not None for n in self.nodes):
            raise ArgumentError("Network: there is no layer between input and output")
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have the nodes in a row, their inputs by number: a deep network is no
        deep recursion."""
        every = list(dict.fromkeys((*self.inputs, *self.nodes)))
        place = {node: i for i, node in enumerate(every)}
        flat = [(replace(n, inputs=()), [place[i] for i in n.inputs]) for n in every]
        ends = [place[node] for node in self.inputs], place[self.output]
        own = super().__getstate__()
        left = {k: v for k, v in own.items() if k not in ("inputs", "output", "nodes")}
        return {**left, "flat": flat, "ends": ends}

    def __setstate__(self, state: dict[str, Any]) -> None:
        flat, (inputs, output) = state.pop("flat"), state.pop("ends")
        made: list[Node] = []
        for i, (node, _) in sorted(enumerate(flat), key=lambda each: each[1][0].born):
            object.__setattr__(node, "inputs", tuple(flat[j][0] for j in flat[i][1]))
            made.append(node)
        super().__setstate__(state)
        self.inputs, self.output = tuple(flat[i][0] for i in inputs), flat[output][0]
        reached = {id(node) for node in _reachable(self.output)}
        self.nodes = [node for node in made if id(node) in reached]

    @property
    def image(self) -> Shape:
        """The shape of one sample of the first input."""
        return self.inputs[0].shape

    @property
    def input_specs(self) -> list[tuple[Shape, str | None]]:
        """Shape of one sample and dtype of every input."""
        return [(node.shape, node.dtype) for node in self.inputs]

    def nested(self) -> Iterator[Layer]:
        return (node.layer for node in self.nodes if node.layer is not None)

    def parts(self, name: str, inputs: tuple[Tensor, ...]) -> Generator[Part, Tensor, Tensor]:
        values = dict(zip(self.inputs, inputs, strict=True))
        taken: Counter[str] = Counter()
        for node in self.nodes:
            if node.layer is not None:
                own = node.name if node.name is not None else _automatic(node.layer, taken)
                given = tuple(values[i] for i in node.inputs)
                values[node] = yield node.layer, join(name, own), given
        return values[self.output]

    def brief(self) -> str:
        return f"Network({self.name}, {len(self.nodes)} nodes)"

    @never_raises
    def __repr__(self) -> str:
        """A table of the layers."""
        named = ((n.name or "", n.layer) for n in self.nodes if n.layer is not None)
        return _printed(self.name, self, named)


def as_network(layer: Layer, image: Shape | None = None) -> Network:
    """`layer` as a Network: a Sequential needs an Input first, or the shape of one sample."""
    if isinstance(layer, Network):
        return layer
    given = layer.input if isinstance(layer, Sequential) else None
    node = Input(image) if image is not None else given
    if node is None:
        raise ArgumentError(
            f"{layer.brief()} has no Input",
            "give the input's shape: Sequential(dl.Input((height, width, channels)), ...) or "
            "image=(height, width, channels)",
        )
    return Network(node, layer(node, name=""))


def _printed(title: str, layer: Layer, layers: Iterable[tuple[str, Layer]]) -> str:
    """A network as people see it; its layers alone where nobody knows their outputs."""
    try:
        network = as_network(layer)
        walked, lowering = walk(network), Lowering(1, training=False)
        network.apply(
            lowering,
            "",
            *(lowering.input(t.name, t.shape, t.dtype) for t in walked.inputs),
        )
    except MinidlError as error:
        return layer_list(title, layers, error.message)
    return layer_table(title, walked.inputs, walked.calls, weights_by_place(lowering))


@dataclass(frozen=True)
class Walk:
    """A network's layers as lowering meets them, for a batch of 1; nothing is lowered."""

    lowering: Lowering
    inputs: list[Tensor]
    calls: list[Call]
    output: Tensor

    def warn_of_order(self) -> None:
        """A UserWarning where the output has its features in another order than PyTorch."""
        features = self.lowering.features_of(self.output)
        if len(self.output.shape) == 2 and not is_plain(features):
            warn_caller(
                f"the network's output is {described(features)}: its features come, and are asked "
                "for, as NumPy flattens images (H, W, C); PyTorch has them as (C, H, W)"
            )


def walk(network: Network) -> Walk:
    calls: list[Call] = []
    lowering = Lowering(1, training=False, calls=calls)
    inputs = [
        lowering.input(f"input{i or ''}", (1, *shape), dtype or lowering.dtype)
        for i, (shape, dtype) in enumerate(network.input_specs)
    ]
    return Walk(lowering, inputs, calls, network.apply(lowering, "", *inputs))


def join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name


def _automatic(layer: Layer, taken: Counter[str]) -> str:
    kind = type(layer).__name__.lower()
    taken[kind] += 1
    return f"{kind}{taken[kind]}"


def _reachable(output: Node) -> list[Node]:
    """Every node that `output` depends on, in the order in which they were made."""
    found, waiting = {output}, [output]
    while waiting:
        fresh = [node for node in waiting.pop().inputs if node not in found]
        found.update(fresh)
        waiting.extend(fresh)
    return sorted(found, key=lambda node: node.born)
