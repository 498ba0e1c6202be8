"""ONNX's operators as layers, a function each. What a layer cannot do is refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.interop.onnx_arithmetic import arithmetic, is_arithmetic
from minidl.interop.onnx_numbers import REST
from minidl.interop.onnx_places import finish, owned, placed
from minidl.interop.onnx_reader import Model, Part, Value, refused
from minidl.interop.onnx_windows import bins
from minidl.ir import Array
from minidl.ir.features import FromTorch
from minidl.layers.activation import GELU, LeakyReLU, Tanh
from minidl.layers.base import Layer
from minidl.layers.batchnorm2d import BatchNorm2d
from minidl.layers.dropout import Dropout
from minidl.layers.flatten import Flatten
from minidl.layers.linear import Linear
from minidl.layers.lrn import LocalResponseNorm
from minidl.layers.merge import Add, Concat
from minidl.layers.normalize import Normalize

Operator = Callable[[Model, Any], Value | Part]
"""f(model, node): what the node's first output is."""


def gemm(m: Model, node: Any) -> Value:
    how = m.attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    x, w, b = m.value(node), m.required(node, 1), m.constant(node, 2)
    if (how["alpha"], how["beta"], how["transA"]) != (1.0, 1.0, 0) or w.ndim != 2:
        raise refused(node, "other than x w + b")
    w = w if how["transB"] else np.ascontiguousarray(w.T)
    if len(x.shape) != 2 or w.shape[1] != x.shape[1]:
        raise refused(node, f"weights {w.shape} do not fit an input of shape {x.shape}")
    if b is not None:
        bias = bias_of(b, len(w))
        if bias is None:
            raise refused(
                node,
                f"bias {node.input[2]} of shape {b.shape} is not one number for each of the "
                f"{len(w)} outputs",
            )
        b = bias
    layer, name = owned(
        m,
        node,
        lambda: Linear(w.shape[0], bias=b is not None),
        {"weight": w} | ({} if b is None else {"bias": b}),
        x,
    )
    return placed(node, layer, x, name=name)


def matmul(m: Model, node: Any) -> Value:
    """Linear without a bias, or with that of the Add behind it; else AdaptiveAvgPool2d."""
    if node.input[:1] and node.input[0] in m.constants:
        return bins(m, node)
    x, w = m.value(node), m.required(node, 1)
    if len(x.shape) != 2 or w.ndim != 2 or w.shape[0] != x.shape[1]:
        raise refused(node, f"weights {w.shape} do not fit an input of shape {x.shape}")
    arrays, found = {"weight": np.ascontiguousarray(w.T)}, _bias_behind(m, node, w.shape[1])
    also = found[2] if found else ""
    if found:
        arrays["bias"] = found[3]
        m.done.add(found[0])
    layer, name = owned(
        m, node, lambda: Linear(w.shape[1], bias=found is not None), arrays, x, also
    )
    value = placed(node, layer, x, name=name)
    return finish(m, found[1], value) if found else value


def _bias_behind(m: Model, node: Any, count: int) -> tuple[int, Any, str, Array] | None:
    """Position and node of the Add of a bias that alone reads a product, and the bias."""
    found = m.only_reader(node.output[0])
    if found is None or found[1].op_type != "Add" or len(found[1].input) != 2:
        return None
    position, behind = found
    index = int(behind.input[0] == node.output[0])
    if behind.input[index] not in m.constants:
        return None
    bias = bias_of(m.required(behind, index), count)
    return None if bias is None else (position, behind, behind.input[index], bias)


def bias_of(given: Array, count: int) -> Array | None:
    """A number for each of `count` outputs, which ONNX may give as a row, or one for all; None
    where it is another for each sample."""
    if (
        given.ndim > 2
        or given.shape[:-1] not in ((), (1,))
        or given.shape[-1:] not in ((), (1,), (count,))
    ):
        return None
    return np.ascontiguousarray(np.broadcast_to(given.reshape(-1), (count,)))


def batch_normalization(m: Model, node: Any) -> Value:
    how = m.attributes(node, epsilon=1e-5, momentum=0.9, spatial=1, training_mode=0)
    x, names = m.image(node), ("weight", "bias", "running_mean", "running_var")
    arrays = {name: m.required(node, i) for i, name in enumerate(names, start=1)}
    wrong = [name for name, array in arrays.items() if array.shape != x.shape[3:]]
    if wrong or how["training_mode"] or not how["spatial"] or len(node.output) > 1:
        raise refused(node, f"{wrong} of another shape, or in training mode")
    arrays["num_batches_tracked"] = np.array(0)
    eps = m.number(node, "eps", how["epsilon"])
    momentum = m.number(node, "momentum", how["momentum"], REST)
    layer, name = owned(m, node, lambda: BatchNorm2d(eps=eps, momentum=momentum), arrays, x)
    return placed(node, layer, x, name=name)


def one_input(make: Callable[[], Layer]) -> Operator:
    def operator(m: Model, node: Any) -> Value:
        m.attributes(node)
        return placed(node, make(), m.value(node))

    return operator


def leaky_relu(m: Model, node: Any) -> Value:
    slope = m.number(node, "slope", m.attributes(node, alpha=0.01)["alpha"])
    return placed(node, LeakyReLU(slope), m.value(node))


def gelu(m: Model, node: Any) -> Value:
    kind = m.attributes(node, approximate=b"none")["approximate"]
    if kind not in (b"none", b"tanh"):
        raise refused(node, f"approximate {kind[:9]!r}")
    return placed(node, GELU("tanh" if kind == b"tanh" else "none"), m.value(node))


def dropout(m: Model, node: Any) -> Value:
    how = m.attributes(node, ratio=0.5, seed=0)
    given, training = m.constant(node, 1), m.constant(node, 2) if len(node.input) > 2 else None
    said = float(given) if given is not None and given.ndim == 0 else how["ratio"]
    ratio = m.number(node, "p", said)
    if training is not None or not 0 <= ratio < 1:
        raise refused(node, f"ratio {ratio}, or in training mode")
    return placed(node, Dropout(ratio), m.value(node))


def lrn(m: Model, node: Any) -> Value:
    how = m.attributes(node, size=0, alpha=1e-4, beta=0.75, bias=1.0)
    if how["size"] < 1 or how["size"] % 2 == 0:
        raise refused(node, f"windows of size {how['size']}, which is not odd")
    alpha, beta = (m.number(node, name, how[name]) for name in ("alpha", "beta"))
    k = m.number(node, "k", how["bias"])
    return placed(node, LocalResponseNorm(how["size"], alpha, beta, k), m.image(node))


def flatten(m: Model, node: Any) -> Value:
    axis, x = m.attributes(node, axis=1)["axis"], m.value(node)
    if axis != 1:
        raise refused(node, f"axis {axis}")
    return x if len(x.shape) == 2 else placed(node, Flatten(), x)


def reshape(m: Model, node: Any) -> Value:
    """What flattens images, (0 or -1, features); no other."""
    m.attributes(node, allowzero=0)
    x, target = m.value(node), m.required(node, 1).tolist()
    features = math.prod(x.shape[1:])
    if len(x.shape) != 4 or target not in ([0, -1], [0, features], [-1, features]):
        raise refused(node, f"{x.shape} to {target if isinstance(target, int) else target[:9]}")
    return placed(node, Flatten(), x)


TANH, SUM = arithmetic(np.tanh, 1), arithmetic(np.add)


def tanh(m: Model, node: Any) -> Value | Part:
    return TANH(m, node) if is_arithmetic(m, node) else one_input(Tanh)(m, node)


def merge(layer: type[Add] | type[Concat]) -> Operator:
    def operator(m: Model, node: Any) -> Value | Part:
        if node.op_type == "Add" and is_arithmetic(m, node):
            return SUM(m, node)
        axis = m.attributes(node, **({"axis": 1} if layer is Concat else {})).get("axis", 1)
        inputs = [m.value(node, i) for i in range(max(1, len(node.input)))]
        last = -3 if len(inputs[0].shape) == 4 else -1
        if axis not in (1, last):
            raise refused(node, f"axis {axis}")
        return inputs[0] if len(inputs) == 1 else placed(node, layer(), *inputs)

    return operator


def sub(m: Model, node: Any) -> Value:
    """Normalize: (x - mean) times 1 / std, or divided by std, channel by channel."""
    found = m.only_reader(node.output[0])
    x = m.value(node)
    if found is None or found[1].op_type not in ("Mul", "Div"):
        raise refused(node, "a Sub that no Mul or Div with a constant follows")
    position, scaled = found
    own = int(scaled.input[0] == node.output[0])
    if scaled.op_type == "Div" and not own:
        raise refused(scaled, "a number that is divided by a value")
    mean = _channels(node, m.required(node, 1), x)
    scale = _channels(scaled, m.required(scaled, own), x)
    if min(scale) <= 0:
        raise refused(scaled, "a scale that is not positive")
    m.done.add(position)
    std = scale if scaled.op_type == "Div" else tuple(1 / np.asarray(scale, np.float64))
    return finish(m, scaled, placed(node, Normalize(mean, std), x))


def _channels(node: Any, array: Array, x: Value) -> tuple[float, ...]:
    flat = array.reshape(-1)
    fits = array.shape == (flat.size, *(1,) * (len(x.shape) - 2)) or array.size == 1
    if not fits or flat.size not in (1, x.shape[-1]):
        raise refused(node, f"a constant of shape {array.shape}, not one number a channel")
    each = np.broadcast_to(flat, x.shape[-1:])
    ordered = FromTorch(0, x.features)(each) if len(x.shape) == 2 else each
    return tuple(float(v) for v in ordered)
