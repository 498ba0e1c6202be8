"""What other programs write in ONNX for minidl's layers: read, and what onnxruntime gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.interop import import_onnx
from minidl.ir import Array
from minidl.layers.base import Layer

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tests.interop.test_onnx import by_onnxruntime, channels_first, close  # noqa: E402
from tests.interop.test_onnx_hostile import model, written  # noqa: E402

IMAGE, VECTOR = ("n", 2, 6, 5), ("n", 4)
CHANCE = np.random.default_rng(1)


def n(op: str, inputs: str, output: str, **how: Any) -> Any:
    return onnx.helper.make_node(op, inputs.split(), [output], **how)


def f(value: Any) -> Array:
    return np.asarray(value, np.float32)


@dataclass(frozen=True)
class Row:
    name: str
    layers: tuple[type[Layer], ...]
    """That it is read as."""
    nodes: list[Any]
    """From `x` to `y`."""
    constants: dict[str, Array] = field(default_factory=dict)
    shape: tuple[Any, ...] = IMAGE
    opset: int = 17
    softmax: bool = False
    """Whether what is read lacks that, and says so."""


def erf_gelu(first: Any, *rest: Any) -> list[Any]:
    return [first, n("Erf", "a", "b"), n("Add", "b one", "c"), *rest]


GELU = {"one": f(1), "half": f(0.5), "root2": f(2**0.5), "rsqrt2": f(0.5**0.5)}
TANH = {"one": f(1), "half": f(0.5), "three": f(3), "k": f(0.044715), "s": f(0.7978846)}
W, B = f(CHANCE.normal(size=(4, 3))), f([0.1, -0.2, 0.3])
ZEROS = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": f(CHANCE.normal(size=(3, 2, 3, 3)))}
POOL: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2]}

ROWS = [
    Row("gelu of PyTorch", (dl.GELU,), erf_gelu(
        n("Div", "x root2", "a"), n("Mul", "x c", "d"), n("Mul", "d half", "y")), GELU),
    Row("gelu, halved first", (dl.GELU,), erf_gelu(
        n("Mul", "x rsqrt2", "a"), n("Mul", "half x", "d"), n("Mul", "d c", "y")), GELU),
    Row("gelu, halved before", (dl.GELU,), [
        n("Mul", "x half", "h"), *erf_gelu(n("Div", "x root2", "a"), n("Mul", "h c", "y"))], GELU),
    Row("gelu of vectors", (dl.GELU,), erf_gelu(
        n("Div", "x root2", "a"), n("Mul", "c x", "d"), n("Mul", "d half", "y")), GELU, VECTOR),
    Row("gelu by tanh, a power", (dl.GELU,), [
        n("Pow", "x three", "a"), n("Mul", "a k", "b"), n("Add", "x b", "c"), n("Mul", "c s", "d"),
        n("Tanh", "d", "e"), n("Add", "e one", "g"), n("Mul", "x g", "h"), n("Mul", "h half", "y"),
    ], TANH),
    Row("gelu by tanh of PyTorch", (dl.GELU,), [
        n("Mul", "x x", "a"), n("Mul", "x a", "b"), n("Mul", "k b", "c"), n("Add", "x c", "d"),
        n("Mul", "s d", "e"), n("Tanh", "e", "g"), n("Add", "one g", "h"), n("Mul", "half x", "i"),
        n("Mul", "i h", "y"),
    ], TANH),
    Row("tanh alone", (dl.Tanh,), [n("Tanh", "x", "y")]),
    Row("normalize that divides", (dl.Normalize,), [
        n("Sub", "x m", "a"), n("Div", "a d", "y")],
        {"m": f([0.1, 0.2]).reshape(2, 1, 1), "d": f([2, 3]).reshape(2, 1, 1)}),
    Row("softmax", (dl.ReLU,), [n("Relu", "x", "a"), n("Softmax", "a", "y")], {}, VECTOR,
        softmax=True),
    Row("softmax of opset 11", (dl.ReLU,), [n("Relu", "x", "a"), n("Softmax", "a", "y")], {},
        VECTOR, 11, softmax=True),
    Row("softmax over channels", (dl.ReLU,), [n("Relu", "x", "a"), n("Softmax", "a", "y", axis=1)],
        softmax=True),
    Row("product", (dl.Linear,), [n("MatMul", "x w", "y")], {"w": W}, VECTOR),
    Row("product and bias", (dl.Linear,), [n("MatMul", "x w", "a"), n("Add", "a b", "y")],
        {"w": W, "b": B}, VECTOR),
    Row("product and a row of biases", (dl.Linear,), [
        n("MatMul", "x w", "a"), n("Add", "a b", "y")],
        {"w": W, "b": B[None]}, VECTOR),
    *(Row(f"product with a bias of shape {b.shape}", (dl.Linear,), [n("Gemm", "x w b", "y")],
        {"w": W, "b": b}, VECTOR) for b in (B, B[None], B[:1], B[:1, None], B[0])),
    Row("bias and product", (dl.Linear,), [n("MatMul", "x w", "a"), n("Add", "b a", "y")],
        {"w": W, "b": B}, VECTOR),
    Row("one matrix, two biases", (dl.Linear, dl.Linear, dl.Add), [
        n("MatMul", "x w", "a"), n("Add", "a b", "c"), n("MatMul", "x w", "d"),
        n("Add", "d e", "g"), n("Add", "c g", "y")], {"w": W, "b": B, "e": B + 1}, VECTOR),
    Row("product behind Flatten", (dl.Flatten, dl.Linear), [
        n("Flatten", "x", "a"), n("MatMul", "a w", "y")], {"w": f(CHANCE.normal(size=(60, 3)))}),
    Row("mean of all pixels", (dl.AdaptiveAvgPool2d,), [n("ReduceMean", "x", "y", axes=[2, 3])]),
    Row("mean, without axes", (dl.AdaptiveAvgPool2d, dl.Flatten), [
        n("ReduceMean", "x", "y", axes=[-1, -2], keepdims=0)]),
    Row("mean of opset 18", (dl.AdaptiveAvgPool2d, dl.Flatten), [
        n("ReduceMean", "x i", "y", keepdims=0)], {"i": np.array([2, 3])}, opset=18),
    Row("zeros, then a convolution", (dl.Conv2d,), [n("Pad", "x p", "a"), n("Conv", "a w", "y")],
        ZEROS),
    Row("zeros beside padding", (dl.Conv2d,), [
        n("Pad", "x p", "a"), n("Conv", "a w", "y", pads=[1, 0, 1, 0])], ZEROS),
    Row("zeros of opset 9", (dl.AvgPool2d,), [
        n("Pad", "x", "a", pads=[0, 0, 1, 1, 0, 0, 1, 1]), n("AveragePool", "a", "y", **POOL)],
        opset=9),
    Row("zeros, then an average", (dl.AvgPool2d,), [
        n("Pad", "x p", "a"), n("AveragePool", "a", "y", **POOL)], {"p": ZEROS["p"]}),
    Row("zeros, then an average that is rounded up", (dl.AvgPool2d,), [
        n("Pad", "x p", "a"), n("AveragePool", "a", "y", ceil_mode=1, **POOL)], {"p": ZEROS["p"]}),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_read(row: Row, tmp_path: Path) -> None:
    made = model(row.nodes, row.constants, row.shape, row.opset)
    made.ir_version = 8
    path = written(tmp_path, made.SerializeToString(), "m.onnx")
    if row.softmax:
        with pytest.warns(UserWarning, match=r"m\.onnx: its last Softmax is left out") as said:
            net, state = import_onnx(path)
        assert [w.filename for w in said] == [__file__]
    else:
        net, state = import_onnx(path)
    assert tuple(type(node.layer) for node in net.nodes if node.layer) == row.layers
    step = dl.compile(net, 2, loss=dl.MSE(), optimizer=dl.SGD(momentum=0))
    step.load_state_dict(state)
    x = np.random.default_rng(2).normal(size=(2, *net.image)).astype(np.float32) * 2
    found = channels_first(step.predict(x))
    if row.softmax:
        found = np.exp(found) / np.exp(found).sum(1, keepdims=True)
    close(found, by_onnxruntime(path, {"x": channels_first(x)}))
