"""ONNX's operators as layers: the one table of them. What a layer cannot do is refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minidl.interop.onnx_graph import bin_means
from minidl.interop.onnx_reader import Model, Value, decoded, refused
from minidl.ir import Array, Shape, ShapeError
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

Operator = Callable[[Model, Any], Value]
WINDOW: dict[str, Any] = {
    "kernel_shape": [], "strides": [1, 1], "pads": [0, 0, 0, 0], "auto_pad": b"NOTSET",
}  # fmt: skip


def _placed(node: Any, layer: Layer, *inputs: Value, name: str | None = None) -> Value:
    """The layer at its inputs; ArgumentError where their shapes do not fit."""
    try:
        shape = layer.output_shape(*(x.shape for x in inputs))
    except ShapeError as error:
        raise refused(node, f"shapes {[x.shape for x in inputs]}: {error}") from None
    own = name if name is not None else node.name.partition("/")[0] or None
    output = layer(*(x.node for x in inputs), name=own)
    return Value(output, shape, inputs[0].flat if shape == inputs[0].shape else None)


def _owned(m: Model, node: Any, make: Callable[[], Layer], arrays: dict[str, Array]) -> Any:
    """A layer with weights and its name: the same one where the initializers are the same."""
    key = (node.op_type, *node.input[1:], *(a.SerializeToString() for a in node.attribute))
    if key not in m.layers:
        first = node.input[1]
        taken = {name for _, name in m.layers.values()}
        plain = first.removesuffix(".weight") if first.endswith(".weight") else node.name
        name = plain if plain and plain not in taken else f"{node.op_type.lower()}{len(taken)}"
        if name in taken:
            raise refused(node, f"two layers are called {name}")
        m.layers[key] = make(), name
        m.state.update({f"{name}.{own}": array for own, array in arrays.items()})
    return m.layers[key]


def _pair(node: Any, values: list[int], what: str) -> tuple[int, int]:
    if len(values) != 2 or not all(1 <= v < 2**31 for v in values):
        raise refused(node, f"{what} {values[:9]}: two numbers of at least 1 are expected")
    return values[0], values[1]


def _pads(node: Any, how: dict[str, Any]) -> tuple[Shape, Shape]:
    """Padding (height, width) at the near and at the far edge."""
    pads = how["pads"]
    if how["auto_pad"] != b"NOTSET" or len(pads) != 4 or not all(0 <= p < 2**31 for p in pads):
        raise refused(node, f"auto_pad {how['auto_pad']!r}, pads {pads[:9]}")
    return (pads[0], pads[1]), (pads[2], pads[3])


def _conv(m: Model, node: Any) -> Value:
    how = m.attributes(node, **WINDOW, dilations=[1, 1], group=1)
    x, w, b = m.picture(node), m.required(node, 1), m.constant(node, 2)
    near, far = _pads(node, how)
    if near != far:
        raise refused(node, f"pads {how['pads']} differ between the edges")
    if w.ndim != 4 or how["kernel_shape"] not in ([], list(w.shape[2:])):
        raise refused(node, f"weights of shape {w.shape}, kernel {how['kernel_shape'][:9]}")
    k, c, *kernel = w.shape
    group = how["group"]
    if group < 1 or x.shape[3] != c * group or (b is not None and b.shape != (k,)):
        raise refused(node, f"weights {w.shape} in {group} groups do not fit {x.shape[3]} channels")

    def make() -> Layer:
        stride, dilation = (_pair(node, how[n], n) for n in ("strides", "dilations"))
        size = _pair(node, kernel, "kernel")
        padding = near[0], near[1]
        return Conv2d(k, size, stride, padding, dilation, group, bias=b is not None)

    layer, name = _owned(m, node, make, {"weight": w} | ({} if b is None else {"bias": b}))
    return _placed(node, layer, x, name=name)


def _gemm(m: Model, node: Any) -> Value:
    how = m.attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    x, w, b = m.value(node), m.required(node, 1), m.constant(node, 2)
    if (how["alpha"], how["beta"], how["transA"]) != (1.0, 1.0, 0) or w.ndim != 2:
        raise refused(node, "other than x w + b")
    w = w if how["transB"] else np.ascontiguousarray(w.T)
    if len(x.shape) != 2 or w.shape[1] != x.shape[1] or (b is not None and b.shape != w.shape[:1]):
        raise refused(node, f"weights {w.shape} do not fit an input of shape {x.shape}")
    layer, name = _owned(
        m,
        node,
        lambda: Linear(w.shape[0], bias=b is not None),
        {"weight": w} | ({} if b is None else {"bias": b}),
    )
    return replace(_placed(node, layer, x, name=name), flat=None)


def _batch_normalization(m: Model, node: Any) -> Value:
    how = m.attributes(node, epsilon=1e-5, momentum=0.9, spatial=1, training_mode=0)
    x, names = m.picture(node), ("weight", "bias", "running_mean", "running_var")
    arrays = {name: m.required(node, i) for i, name in enumerate(names, start=1)}
    wrong = [name for name, array in arrays.items() if array.shape != x.shape[3:]]
    if wrong or how["training_mode"] or not how["spatial"] or len(node.output) > 1:
        raise refused(node, f"{wrong} of another shape, or in training mode")
    arrays["num_batches_tracked"] = np.array(0)
    eps, momentum = round_trip(how["epsilon"]), round_trip(1 - how["momentum"])
    layer, name = _owned(m, node, lambda: BatchNorm2d(eps, momentum), arrays)
    return _placed(node, layer, x, name=name)


def round_trip(value: float) -> float:
    """The decimal number that a float32 attribute was meant to be."""
    return float(f"{value:.6g}")


def _layer(make: Callable[[], Layer]) -> Operator:
    def operator(m: Model, node: Any) -> Value:
        m.attributes(node)
        return _placed(node, make(), m.value(node))

    return operator


def _leaky_relu(m: Model, node: Any) -> Value:
    slope = round_trip(m.attributes(node, alpha=0.01)["alpha"])
    return _placed(node, LeakyReLU(slope), m.value(node))


def _gelu(m: Model, node: Any) -> Value:
    kind = m.attributes(node, approximate=b"none")["approximate"]
    if kind not in (b"none", b"tanh"):
        raise refused(node, f"approximate {kind[:9]!r}")
    return _placed(node, GELU("tanh" if kind == b"tanh" else "none"), m.value(node))


def _dropout(m: Model, node: Any) -> Value:
    how = m.attributes(node, ratio=0.5, seed=0)
    given, training = m.constant(node, 1), m.constant(node, 2) if len(node.input) > 2 else None
    ratio = round_trip(float(given) if given is not None and given.ndim == 0 else how["ratio"])
    if training is not None or not 0 <= ratio < 1:
        raise refused(node, f"ratio {ratio}, or in training mode")
    return _placed(node, Dropout(ratio), m.value(node))


def _lrn(m: Model, node: Any) -> Value:
    how = m.attributes(node, size=0, alpha=1e-4, beta=0.75, bias=1.0)
    if how["size"] < 1 or how["size"] % 2 == 0:
        raise refused(node, f"windows of size {how['size']}, which is not odd")
    alpha, beta, k = (round_trip(how[name]) for name in ("alpha", "beta", "bias"))
    return _placed(node, LocalResponseNorm(how["size"], alpha, beta, k), m.picture(node))


def _max_pool(m: Model, node: Any) -> Value:
    how = m.attributes(node, **WINDOW, dilations=[1, 1], ceil_mode=0, storage_order=0)
    dilation = _pair(node, how["dilations"], "dilations")
    return _pooled(m, node, how, partial(MaxPool2d, dilation=dilation), dilation)


def _average_pool(m: Model, node: Any) -> Value:
    """Divisors that count what hangs over an edge are no layer's."""
    how = m.attributes(node, **WINDOW, dilations=[1, 1], ceil_mode=0, count_include_pad=0)
    counted = bool(how["count_include_pad"])
    if how["dilations"] != [1, 1]:
        raise refused(node, f"dilations {how['dilations'][:9]}")
    near, far = _pads(node, how)
    if counted and (near != far or how["ceil_mode"]):
        raise refused(node, "count_include_pad with windows that hang over the edge")
    return _pooled(m, node, how, partial(AvgPool2d, count_include_pad=counted))


def _pooled(
    m: Model,
    node: Any,
    how: dict[str, Any],
    make: Callable[..., MaxPool2d | AvgPool2d],
    dilation: tuple[int, int] = (1, 1),
) -> Value:
    """A pool; more padding at the far edge is ceil_mode, where it gives as many windows."""
    x, (near, far) = m.picture(node), _pads(node, how)
    kernel, stride = (_pair(node, how[n], n) for n in ("kernel_shape", "strides"))
    if len(node.output) > 1:
        raise refused(node, "a second output")
    ceil = bool(how["ceil_mode"])
    if near != far:
        along = zip(x.shape[1:3], near, far, dilation, kernel, stride, strict=True)
        size = [(n + a + b - d * (k - 1) - 1) // s + 1 for n, a, b, d, k, s in along]
        layer = make(kernel, stride, near, ceil_mode=True)
        fits = ceil is False and all(a <= b for a, b in zip(near, far, strict=True))
        if not fits or [*layer.output_shape(x.shape)[1:3]] != size:
            raise refused(node, f"pads {how['pads']} differ between the edges")
        return _placed(node, layer, x)
    try:
        return _placed(node, make(kernel, stride, near, ceil_mode=ceil), x)
    except ShapeError as error:
        raise refused(node, str(error)) from None


def _global_average_pool(m: Model, node: Any) -> Value:
    m.attributes(node)
    return _placed(node, AdaptiveAvgPool2d(1), m.picture(node))


def _flatten(m: Model, node: Any) -> Value:
    axis, x = m.attributes(node, axis=1)["axis"], m.value(node)
    if axis != 1:
        raise refused(node, f"axis {axis}")
    return x if len(x.shape) == 2 else _flat(node, x)


def _flat(node: Any, x: Value) -> Value:
    origin = x.shape[1:] if x.shape[1] * x.shape[2] > 1 else None
    return replace(_placed(node, Flatten(), x), flat=origin)


def _reshape(m: Model, node: Any) -> Value:
    """What flattens pictures, (0 or -1, features); no other."""
    m.attributes(node, allowzero=0)
    x, target = m.value(node), m.required(node, 1).tolist()
    features = math.prod(x.shape[1:])
    if len(x.shape) != 4 or target not in ([0, -1], [0, features], [-1, features]):
        raise refused(node, f"{x.shape} to {target if isinstance(target, int) else target[:9]}")
    return _flat(node, x)


def _merge(layer: type[Add] | type[Concat]) -> Operator:
    def operator(m: Model, node: Any) -> Value:
        axis = m.attributes(node, **({"axis": 1} if layer is Concat else {})).get("axis", 1)
        inputs = [m.value(node, i) for i in range(len(node.input))]
        flats = {x.flat for x in inputs}
        last = -3 if len(inputs[0].shape) == 4 else -1
        if axis not in (1, last) or len(flats) > 1 or (layer is Concat and flats != {None}):
            raise refused(node, f"axis {axis}, or pictures that were flattened")
        return inputs[0] if len(inputs) == 1 else _placed(node, layer(), *inputs)

    return operator


def _sub(m: Model, node: Any) -> Value:
    """Normalize: (x - mean) times 1 / std, channel by channel."""
    found = m.only_reader(node.output[0])
    x = m.value(node)
    if found is None or found[1].op_type != "Mul" or x.flat is not None:
        raise refused(node, "a Sub that no Mul with a constant follows")
    position, scaled = found
    mean = _channels(node, m.required(node, 1), x)
    scale = _channels(scaled, m.required(scaled, int(scaled.input[0] == node.output[0])), x)
    m.done.add(position)
    std = tuple(1 / np.asarray(scale, np.float64))
    return _finish(m, scaled, _placed(node, Normalize(mean, std), x))


def _channels(node: Any, array: Array, x: Value) -> tuple[float, ...]:
    flat = array.reshape(-1)
    fits = array.shape == (flat.size, *(1,) * (len(x.shape) - 2)) or array.size == 1
    if not fits or flat.size not in (1, x.shape[-1]):
        raise refused(node, f"a constant of shape {array.shape}, not one number a channel")
    return tuple(float(v) for v in np.broadcast_to(flat, x.shape[-1:]))


def _finish(m: Model, node: Any, value: Value) -> Value:
    """Give the output of a later node, read together with this one, its value."""
    m.values[node.output[0]] = value
    return value


def _matmul(m: Model, node: Any) -> Value:
    """AdaptiveAvgPool2d: the matrices of `bin_means` to both sides of a picture."""
    found = m.only_reader(node.output[0])
    if node.input[0] not in m.constants or found is None or found[1].op_type != "MatMul":
        raise refused(node, "a product that is no AdaptiveAvgPool2d of minidl; use Gemm for Linear")
    x, (position, other) = m.value(node, 1), found
    down, across = decoded(m.constants[node.input[0]]), m.required(other, 1)
    ours = len(x.shape) == 4 and down.ndim == across.ndim == 2
    if not ours or x.shape[1:3] != (down.shape[1], across.shape[0]):
        raise refused(node, "a product that is no AdaptiveAvgPool2d of minidl")
    count = down.shape[0], across.shape[1]
    wanted = [bin_means(n, k) for n, k in zip(x.shape[1:3], count, strict=True)]
    if not (np.array_equal(down, wanted[0]) and np.array_equal(across, wanted[1].T)):
        raise refused(node, "a product that is no AdaptiveAvgPool2d of minidl")
    m.done.add(position)
    return _finish(m, other, _placed(node, AdaptiveAvgPool2d(count), x))


OPERATORS: dict[str, Operator] = {
    "Add": _merge(Add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Concat": _merge(Concat),
    "Conv": _conv,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "Identity": lambda m, node: m.value(node),
    "LRN": _lrn,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Relu": _layer(ReLU),
    "Reshape": _reshape,
    "Sigmoid": _layer(Sigmoid),
    "Sub": _sub,
    "Sum": _merge(Add),
    "Tanh": _layer(Tanh),
}
