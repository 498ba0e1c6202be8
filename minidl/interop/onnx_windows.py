"""ONNX's convolution and pools as layers: windows that move over images."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minidl.interop.onnx_graph import bin_means
from minidl.interop.onnx_numbers import ADAPTIVE
from minidl.interop.onnx_parts import unpadded
from minidl.interop.onnx_places import finish, owned, placed
from minidl.interop.onnx_reader import Model, Value, decoded, refused
from minidl.ir import Shape, ShapeError
from minidl.layers.base import Layer
from minidl.layers.conv2d import Conv2d
from minidl.layers.flatten import Flatten
from minidl.layers.pool2d import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

COMPUTED = re.compile(r"^onnx::Conv_\d+$")

WINDOW: dict[str, Any] = {
    "kernel_shape": [], "strides": [1, 1], "pads": [0, 0, 0, 0], "auto_pad": b"NOTSET",
}  # fmt: skip


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


def conv(m: Model, node: Any) -> Value:
    how = m.attributes(node, **WINDOW, dilations=[1, 1], group=1)
    (x, around), w, b = unpadded(m, node), m.required(node, 1), m.constant(node, 2)
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
        padding = near[0] + around[0], near[1] + around[1]
        return Conv2d(
            k,
            size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=group,
            bias=b is not None,
        )

    if _is_folded(node) and node.name not in m.folded:
        m.folded.append(node.name)
    layer, name = owned(m, node, make, {"weight": w} | ({} if b is None else {"bias": b}), x)
    return placed(node, layer, x, name=name)


def _is_folded(node: Any) -> bool:
    """Whether PyTorch's exporter has folded a BatchNormalization into a convolution: the older one
    gives weights that it computed a number, the newer says which of its rules made the node."""
    rules = (p.value for p in node.metadata_props if p.key == "pkg.onnxscript.rewriter.rule_name")
    return bool(COMPUTED.match(node.input[1])) or any("FuseBatchNorm" in rule for rule in rules)


def max_pool(m: Model, node: Any) -> Value:
    how = m.attributes(node, **WINDOW, dilations=[1, 1], ceil_mode=0, storage_order=0)
    dilation = _pair(node, how["dilations"], "dilations")
    return _pooled(node, m.image(node), how, partial(MaxPool2d, dilation=dilation), dilation)


def average_pool(m: Model, node: Any) -> Value:
    """Divisors that count what hangs over an edge are no layer's."""
    how = m.attributes(node, **WINDOW, dilations=[1, 1], ceil_mode=0, count_include_pad=0)
    counted = bool(how["count_include_pad"])
    if how["dilations"] != [1, 1]:
        raise refused(node, f"dilations {how['dilations'][:9]}")
    near, far = _pads(node, how)
    if counted and (near != far or how["ceil_mode"]):
        raise refused(node, "count_include_pad with windows that hang over the edge")
    x, around = unpadded(m, node)
    if any(around) and any(near):
        raise refused(node, f"pads {how['pads']} beside those of a Pad")
    bins = _bins(x, how)
    if bins and m.arguments.is_marked(node.name, ADAPTIVE) and not any(around):
        return placed(node, AdaptiveAvgPool2d(bins), x)
    make = partial(AvgPool2d, count_include_pad=counted or any(around))
    return _pooled(node, x, _more(how, around), make)


def _bins(x: Value, how: dict[str, Any]) -> tuple[int, int] | None:
    """How many windows there are where they lie side by side and cover the image."""
    kernel, size = how["kernel_shape"], x.shape[1:3]
    whole = (
        len(kernel) == 2 and kernel == how["strides"] and min(kernel) > 0 and not any(how["pads"])
    )
    if not whole or any(n % k for n, k in zip(size, kernel, strict=True)):
        return None
    return size[0] // kernel[0], size[1] // kernel[1]


def _more(how: dict[str, Any], around: tuple[int, int]) -> dict[str, Any]:
    """The attributes with what Pad has put around the image."""
    if not any(around):
        return how
    return {**how, "pads": [p + a for p, a in zip(how["pads"], around * 2, strict=True)]}


def _pooled(
    node: Any,
    x: Value,
    how: dict[str, Any],
    make: Callable[..., MaxPool2d | AvgPool2d],
    dilation: tuple[int, int] = (1, 1),
) -> Value:
    """A pool; more padding at the far edge is ceil_mode, where it gives as many windows."""
    near, far = _pads(node, how)
    kernel, stride = (_pair(node, how[n], n) for n in ("kernel_shape", "strides"))
    if len(node.output) > 1:
        raise refused(node, "a second output")
    ceil = bool(how["ceil_mode"])
    try:
        layer = make(kernel, stride, near, ceil_mode=ceil or near != far)
        found = [*layer.output_shape(x.shape)[1:3]]
    except ShapeError as error:
        raise refused(node, error.message, error.hint) from None
    if near != far:
        along = zip(x.shape[1:3], near, far, dilation, kernel, stride, strict=True)
        size = [(n + a + b - d * (k - 1) - 1) // s + 1 for n, a, b, d, k, s in along]
        more = all(a <= b for a, b in zip(near, far, strict=True))
        if ceil or not more or found != size:
            raise refused(node, f"pads {how['pads']} differ between the edges")
    return placed(node, layer, x)


def global_average_pool(m: Model, node: Any) -> Value:
    m.attributes(node)
    return placed(node, AdaptiveAvgPool2d(1), m.image(node))


def reduce_mean(m: Model, node: Any) -> Value:
    """Over all pixels; opset 18 made the axes an input."""
    how = m.attributes(node, axes=[], keepdims=1, noop_with_empty_axes=0)
    given, x = m.constant(node, 1), m.image(node)
    axes = how["axes"] if given is None else given.reshape(-1).tolist()
    if sorted(a % 4 if -4 <= a < 4 else a for a in axes) != [2, 3]:
        raise refused(node, f"axes {axes[:9]}: height and width, [2, 3], are expected")
    mean = placed(node, AdaptiveAvgPool2d(1), x)
    return mean if how["keepdims"] else placed(node, Flatten(), mean, name="")


def bins(m: Model, node: Any) -> Value:
    """AdaptiveAvgPool2d: the matrices of `bin_means` to both sides of an image."""
    found = m.only_reader(node.output[0])
    if found is None or found[1].op_type != "MatMul":
        raise refused(node, "a product that is no AdaptiveAvgPool2d of minidl")
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
    return finish(m, other, placed(node, AdaptiveAvgPool2d(count), x))
