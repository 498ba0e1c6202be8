"""Every layer in ONNX's operators, one function a layer, apart from the compiler's passes.

Values are NCHW, and vectors in PyTorch's order. Each function gets the graph, the place and the
inputs, and returns the output.
Operators: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minidl.interop.onnx_graph import Graph, Place, Value, bin_means, unsupported
from minidl.interop.onnx_numbers import ADAPTIVE, REST
from minidl.ir import Array, Shape
from minidl.ir.features import ToTorch
from minidl.ops.activation import CUBIC, SQRT_2_PI
from minidl.ops.window import Window, both

Translation = Callable[..., Value]
"""f(graph, place, *inputs)"""


def conv2d(g: Graph, at: Place, x: Value) -> Value:
    layer, window = at.layer, at.layer.window
    parameters = [g.parameter(layer, own) for own in ("weight", "bias")[: 1 + layer.bias]]
    how = {**_geometry(window), "dilations": window.dilation, "group": layer.groups}
    return Value(g.node("Conv", [x.name, *parameters], at, **how), at.shape)


def _geometry(window: Window) -> dict[str, Any]:
    pads = [*window.padding, *window.padding]
    return {"kernel_shape": window.kernel, "strides": window.stride, "pads": pads}


def linear(g: Graph, at: Place, x: Value) -> Value:
    """The weights' columns are in PyTorch's order, as a vector's features are."""
    parameters = [g.parameter(at.layer, own) for own in ("weight", "bias")[: 1 + at.layer.bias]]
    return Value(g.node("Gemm", [x.name, *parameters], at, transB=1), at.shape)


def batchnorm2d(g: Graph, at: Place, x: Value) -> Value:
    """ONNX's momentum is what is left of the old statistics."""
    layer, owned = at.layer, ("weight", "bias", "running_mean", "running_var")
    parameters = [g.parameter(layer, own) for own in owned]
    counter = g.variables[layer, "num_batches_tracked"].name
    g.batches[counter] = int(g.state[counter])
    how: dict[str, Any] = {
        "epsilon": g.number(at, "eps"),
        "momentum": g.number(at, "momentum", REST),
    }
    return Value(g.node("BatchNormalization", [x.name, *parameters], at, **how), at.shape)


def elementwise(op: str, **attributes: str) -> Translation:
    """An operator of one input; `attributes`: its own names and the layer's."""

    def translation(g: Graph, at: Place, x: Value) -> Value:
        how: dict[str, Any] = {name: g.number(at, own) for name, own in attributes.items()}
        return replace(x, name=g.node(op, [x.name], at, **how))

    return translation


def gelu(g: Graph, at: Place, x: Value) -> Value:
    """An operator of its own since opset 20."""
    if g.opset >= 20:
        how = {"approximate": at.layer.approximate}
        return replace(x, name=g.node("Gelu", [x.name], at, **how))

    def by(op: str, step: str, value: str, other: str | float) -> str:
        constant = other if isinstance(other, str) else _scalar(g, at, step, other)
        return g.node(op, [value, constant], at, step)

    if at.layer.approximate == "tanh":
        cube = by("Mul", "cube", by("Mul", "square", x.name, x.name), x.name)
        inner = by("Add", "sum", by("Mul", "cubic", cube, CUBIC), x.name)
        inner = g.node("Tanh", [by("Mul", "scaled", inner, SQRT_2_PI)], at, "Tanh")
    else:
        inner = g.node("Erf", [by("Mul", "scaled", x.name, math.sqrt(0.5))], at, "Erf")
    half = by("Mul", "half", by("Add", "one", inner, 1.0), 0.5)
    return replace(x, name=by("Mul", "product", half, x.name))


def _scalar(g: Graph, at: Place, step: str, value: float) -> str:
    return g.constant(f"{at.name}/{step}/constant", np.array(value, np.float32))


def dropout(g: Graph, at: Place, x: Value) -> Value:
    """The identity, as there is no training mode; the ratio is for who trains on."""
    return replace(
        x, name=g.node("Dropout", [x.name, _scalar(g, at, "ratio", g.number(at, "p"))], at)
    )


def flatten(g: Graph, at: Place, x: Value) -> Value:
    return Value(g.node("Flatten", [x.name], at, axis=1), at.shape)


def lrn(g: Graph, at: Place, x: Value) -> Value:
    layer = at.layer
    if layer.size % 2 == 0:
        raise unsupported(at, "its windows of an even size lean the other way", "use an odd size")
    owned = {"alpha": "alpha", "beta": "beta", "bias": "k"}
    how: dict[str, Any] = {name: g.number(at, own) for name, own in owned.items()}
    return Value(g.node("LRN", [x.name], at, size=layer.size, **how), at.shape)


def add(g: Graph, at: Place, *inputs: Value) -> Value:
    op = "Add" if len(inputs) == 2 else "Sum"
    return Value(g.node(op, [x.name for x in inputs], at), at.shape)


def concat(g: Graph, at: Place, *inputs: Value) -> Value:
    return Value(g.node("Concat", [x.name for x in inputs], at, axis=1), at.shape)


def normalize(g: Graph, at: Place, x: Value) -> Value:
    """Multiplied by 1 / std, as minidl does it."""

    def constants(values: Any, name: str) -> str:
        array: Array = np.atleast_1d(np.asarray(values, np.float32))
        if len(x.shape) == 2 and array.size > 1:
            array = ToTorch(0, x.features)(array)
        wide = array[:, None, None] if len(x.shape) == 4 else array
        return g.constant(f"{at.name}/{name}", wide)

    mean = constants(at.layer.mean, "mean")
    scale = constants(1 / np.asarray(at.layer.std), "scale")
    y = g.node("Sub", [x.name, mean], at, "Sub")
    return replace(x, name=g.node("Mul", [y, scale], at, "Mul"))


def _overhang(at: Place, size: Shape, window: Window) -> tuple[int, int]:
    """Elements that the last windows cover beyond the far padding, by axis."""
    extents = [d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True)]
    starts = [(n - 1) * s for n, s in zip(at.shape[1:3], window.stride, strict=True)]
    sizes = [n + 2 * p for n, p in zip(size, window.padding, strict=True)]
    down, across = (start + e - n for start, e, n in zip(starts, extents, sizes, strict=True))
    return max(0, down), max(0, across)


def maxpool2d(g: Graph, at: Place, x: Value) -> Value:
    """Windows that hang over the edge are padded there: programs differ in what ceil_mode says."""
    window = at.layer.window
    how, over = _geometry(window), _overhang(at, x.shape[1:3], window)
    how["pads"] = [*window.padding, *(p + o for p, o in zip(window.padding, over, strict=True))]
    y = g.node("MaxPool", [x.name], at, dilations=window.dilation, **how)
    return Value(y, at.shape)


def avgpool2d(g: Graph, at: Place, x: Value) -> Value:
    """As for the maximum; the divisor counts padding, but never what hangs over."""
    window, counted = at.layer.window, at.layer.count_include_pad
    over, value = _overhang(at, x.shape[1:3], window), x.name
    padding = window.padding
    if counted and any(over) and any(padding):
        zeros = g.constant(f"{at.name}/pads", np.array([0, 0, *padding] * 2))
        value, padding = g.node("Pad", [value, zeros], at, "Pad"), (0, 0)
    far = [p + o for p, o in zip(padding, over, strict=True)]
    how = {**_geometry(window), "pads": [*padding, *far]}
    include = int(counted and not any(over))
    return Value(g.node("AveragePool", [value], at, count_include_pad=include, **how), at.shape)


def adaptive_avgpool2d(g: Graph, at: Place, x: Value) -> Value:
    """Bins of one size are windows; otherwise the means are two products with constant matrices."""
    size, bins = x.shape[1:3], both(at.layer.output_size)
    if size == bins:
        return x
    if bins == (1, 1):
        return Value(g.node("GlobalAveragePool", [x.name], at), at.shape)
    if all(n % count == 0 for n, count in zip(size, bins, strict=True)):
        kernel = [n // count for n, count in zip(size, bins, strict=True)]
        g.arguments.mark(at.name, ADAPTIVE)
        y = g.node("AveragePool", [x.name], at, kernel_shape=kernel, strides=kernel)
        return Value(y, at.shape)
    down, across = (bin_means(n, count) for n, count in zip(size, bins, strict=True))
    y = g.node("MatMul", [g.constant(f"{at.name}/rows", down), x.name], at, "rows")
    matrix = g.constant(f"{at.name}/columns", across.T)
    return Value(g.node("MatMul", [y, matrix], at, "columns"), at.shape)
