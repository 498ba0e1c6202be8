"""Layers at places of a network that is read from ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minidl.files.words import shown
from minidl.interop.onnx_reader import Model, Value, refused
from minidl.ir import Array, ShapeError
from minidl.ir.features import Given, described, features_after
from minidl.layers.base import Layer


def placed(node: Any, layer: Layer, *inputs: Value, name: str | None = None) -> Value:
    """The layer at its inputs; ArgumentError where their shapes do not fit."""
    try:
        shape = layer.output_shape(*(x.shape for x in inputs))
        given = [
            Given(shown(name), x.shape, x.features)
            for name, x in zip(node.input, inputs, strict=False)
        ]
        features = features_after(layer.order, given, shape)
    except ShapeError as error:
        said = f"shapes {[x.shape for x in inputs]}: {error.message}"
        raise refused(node, said, error.hint) from None
    own = name if name is not None else node.name.partition("/")[0] or None
    output = layer(*(x.node for x in inputs), name=own)
    return Value(output, shape, features)


def owned(
    m: Model,
    node: Any,
    make: Callable[[], Layer],
    arrays: dict[str, Array],
    x: Value,
    also: str = "",
) -> tuple[Layer, str]:
    """A layer with weights and its name: the same one where the initializers are the same, `also`
    one of another node."""
    said = (a.SerializeToString() for a in node.attribute)
    key = (node.op_type, *node.input[1:], also, *said)
    if key not in m.layers:
        first = node.input[1]
        plain = first.removesuffix(".weight") if first.endswith(".weight") else node.name
        name = plain if plain and plain not in m.taken else f"{node.op_type.lower()}{len(m.taken)}"
        if name in m.taken:
            raise refused(node, f"two layers are called {name}")
        m.taken.add(name)
        m.layers[key] = make(), name, x.features
        m.state.update({f"{name}.{own}": array for own, array in arrays.items()})
    layer, name, features = m.layers[key]
    if len(x.shape) == 2 and features != x.features:
        raise refused(
            node,
            f"its weights are those of {shown(name)}, whose input is {described(features)}, and "
            f"its own {described(x.features)}",
        )
    return layer, name


def finish(m: Model, node: Any, value: Value) -> Value:
    """Give the output of a later node, read together with this one, its value."""
    m.values[node.output[0]] = value
    return value
