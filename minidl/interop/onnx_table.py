"""The one table of layers and ONNX's operators: how each is written, and what reads it back.

Every operator that a layer's `write` makes stands in its row: `tests/interop/test_onnx_random.py`
holds that, and reads back whatever is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minidl.interop import onnx_layers as write
from minidl.interop import onnx_operators as read
from minidl.interop import onnx_parts as parts
from minidl.interop import onnx_windows as windows
from minidl.interop.onnx_arithmetic import arithmetic, erf
from minidl.interop.onnx_graph import Graph, Place, Value, unsupported
from minidl.interop.onnx_layers import Translation
from minidl.interop.onnx_operators import Operator
from minidl.ir import ArgumentError
from minidl.ir.calls import called
from minidl.ir.readers import FUNCTION, by_name, optional, subclass
from minidl.layers.activation import GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from minidl.layers.base import Layer
from minidl.layers.batchnorm2d import BatchNorm2d
from minidl.layers.conv2d import Conv2d
from minidl.layers.dropout import Dropout
from minidl.layers.flatten import Flatten
from minidl.layers.linear import Linear
from minidl.layers.lrn import LocalResponseNorm
from minidl.layers.merge import Add, Concat
from minidl.layers.normalize import Normalize
from minidl.layers.pool2d import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d


@dataclass(frozen=True, slots=True)
class Row:
    """A layer of both programs."""

    write: Translation
    """Adds its nodes to a graph."""
    read: Mapping[str, Operator] = field(default_factory=dict)
    """By operator, what makes it of a node."""


MUL, DIV, POW = arithmetic(np.multiply), arithmetic(np.divide), arithmetic(np.power)
ERF = arithmetic(erf, 1)
ADD = read.merge(Add)
"""Add is a layer of values, and arithmetic of one value."""

ROWS: dict[type[Layer], Row] = {
    Conv2d: Row(write.conv2d, {"Conv": windows.conv}),
    Linear: Row(write.linear, {"Gemm": read.gemm, "MatMul": read.matmul}),
    BatchNorm2d: Row(write.batchnorm2d, {"BatchNormalization": read.batch_normalization}),
    ReLU: Row(write.elementwise("Relu"), {"Relu": read.one_input(ReLU)}),
    LeakyReLU: Row(write.elementwise("LeakyRelu", alpha="slope"), {"LeakyRelu": read.leaky_relu}),
    Sigmoid: Row(write.elementwise("Sigmoid"), {"Sigmoid": read.one_input(Sigmoid)}),
    Tanh: Row(write.elementwise("Tanh"), {"Tanh": read.tanh}),
    GELU: Row(
        write.gelu,
        {
            "Gelu": read.gelu,
            "Add": ADD, "Div": DIV, "Erf": ERF, "Mul": MUL, "Pow": POW, "Tanh": read.tanh,
        },
    ),
    Dropout: Row(write.dropout, {"Dropout": read.dropout}),
    Flatten: Row(write.flatten, {"Flatten": read.flatten, "Reshape": read.reshape}),
    LocalResponseNorm: Row(write.lrn, {"LRN": read.lrn}),
    Add: Row(write.add, {"Add": ADD, "Sum": ADD}),
    Concat: Row(write.concat, {"Concat": read.merge(Concat)}),
    Normalize: Row(write.normalize, {"Sub": read.sub, "Mul": MUL, "Div": DIV}),
    MaxPool2d: Row(write.maxpool2d, {"MaxPool": windows.max_pool}),
    AvgPool2d: Row(write.avgpool2d, {"AveragePool": windows.average_pool, "Pad": parts.pad}),
    AdaptiveAvgPool2d: Row(
        write.adaptive_avgpool2d,
        {
            "AveragePool": windows.average_pool,
            "GlobalAveragePool": windows.global_average_pool,
            "MatMul": read.matmul,
            "ReduceMean": windows.reduce_mean,
        },
    ),
}  # fmt: skip

ENDS: dict[str, Operator] = {
    "Gather": parts.gather,
    "Identity": lambda m, node: m.either(node),
    "LogSoftmax": parts.softmax,
    "Softmax": parts.softmax,
    "Transpose": parts.transpose,
}
"""What no layer is: the form of the output. An input's Cast and Transpose are read with it."""

OPERATORS: dict[str, Operator] = ENDS | {
    operator: reader for row in ROWS.values() for operator, reader in row.read.items()
}


@called(
    readers={
        "kind": subclass(Layer),
        "write": FUNCTION,
        "read": optional(by_name(FUNCTION)),
    }
)
def register_onnx(
    kind: type[Layer],
    write: Translation,
    *,
    read: Mapping[str, Operator] | None = None,
) -> None:
    """State how a layer of another package stands in ONNX.

    write: f(graph, place, *inputs) adds the layer's nodes (`graph.node`, `graph.constant`,
    `graph.parameter`, `graph.number`) and returns the output's `Value`; values are NCHW. read: by
    operator, f(model, node), which returns `placed(node, layer, *inputs)`. ArgumentError where the
    layer or an operator has its row already, with the place of that row.
    """
    row, problems = Row(write, dict(read or {})), []
    if kind in ROWS:
        problems.append(f"{kind.__name__} is written by {_place(ROWS[kind].write)} already")
    problems += [
        f"operator {operator} is read by {_place(OPERATORS[operator])} already"
        for operator in row.read
        if operator in OPERATORS
    ]
    if problems:
        raise ArgumentError(f"{_place(write)}: {'; '.join(problems)}")
    ROWS[kind] = row
    OPERATORS.update(row.read)


def _place(function: Translation | Operator) -> str:
    """File and line of a function."""
    code = inspect.unwrap(function).__code__
    return f"{Path(code.co_filename)}:{code.co_firstlineno}"


def translate(g: Graph, at: Place, inputs: list[Value]) -> Value:
    """Add the nodes of a layer; ArgumentError where ONNX cannot say what it does."""
    row = ROWS.get(type(at.layer))
    if row is None:
        known = ", ".join(kind.__name__ for kind in ROWS)
        raise unsupported(at, f"there are translations of {known}", "add one by register_onnx")
    return row.write(g, at, *inputs)
