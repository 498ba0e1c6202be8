"""The layers in ONNX's operators, and back where one operator is one layer."""

from __future__ import annotations

from typing import Any

from minidl.interop import register_onnx
from minidl.interop.onnx_graph import Graph, Place, Value, unsupported
from minidl.interop.onnx_places import placed
from minidl.interop.onnx_reader import Model
from tests.outside.smooth.layers import Softplus, Swish


def write_softplus(g: Graph, at: Place, x: Value) -> Value:
    if at.layer.beta != 1:
        raise unsupported(at, "its Softplus has a beta of 1")
    return Value(g.node("Softplus", [x.name], at), at.shape, x.features)


def read_softplus(m: Model, node: Any) -> Value:
    m.attributes(node)
    return placed(node, Softplus(), m.value(node))


def write_swish(g: Graph, at: Place, x: Value) -> Value:
    """beta is (C), and a value NCHW: its channels are brought behind, and forth again."""
    beta = g.parameter(at.layer, "beta")

    def moved(value: str, step: str, *perm: int) -> str:
        return g.node("Transpose", [value], at, step, perm=perm) if len(x.shape) == 4 else value

    scaled = g.node("Mul", [moved(x.name, "behind", 0, 2, 3, 1), beta], at, "scaled")
    share = g.node("Sigmoid", [moved(scaled, "forth", 0, 3, 1, 2)], at, "share")
    return Value(g.node("Mul", [x.name, share], at), at.shape, x.features)


def register() -> None:
    """Done where a package is imported; here, where a test wants it."""
    register_onnx(Softplus, write_softplus, read={"Softplus": read_softplus})
    register_onnx(Swish, write_swish)
