"""ONNX models that are refused: for what they hold, lie about or point at."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minidl as dl
from minidl.interop import import_onnx
from minidl.ir import ArgumentError, Array, ShapeError
from tests.interop.pickled import written

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")
numpy_helper = pytest.importorskip("onnx.numpy_helper")

W = np.ones((3, 2, 2, 2), np.float32)
MATRIX = np.ones((3, 5), np.float32)


def value(name: str, *shape: Any, kind: int = 1) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def model(
    nodes: list[Any],
    constants: dict[str, Array] | None = None,
    shape: tuple[Any, ...] = ("n", 2, 6, 5),
    opset: int = 17,
    **more: Any,
) -> Any:
    tensors = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    given, made = more.pop("given", [value("x", *shape)]), [value("y", None)]
    graph = helper.make_graph(nodes, "graph", given, made, tensors, **more)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def node(op: str, inputs: str = "x", outputs: str = "y", **how: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), name="here", **how)


def conv(**how: Any) -> Any:
    return model([node("Conv", "x w", **how)], {"w": W})


def external() -> Any:
    made = conv()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return made


def external_unmarked() -> Any:
    made = conv()
    made.graph.initializer[0].external_data.add(key="location", value="../secret")
    return made


def external_in_a_node() -> Any:
    tensor = numpy_helper.from_array(W, "w")
    tensor.external_data.add(key="location", value="secret")
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    return model([constant, node("Conv", "x w")])


def changed(change: Callable[[Any], object]) -> Any:
    made = conv()
    change(made)
    return made


def subgraph() -> Any:
    inner = helper.make_graph([], "inner", [], [])
    return model([node("If", "x", then_branch=inner, else_branch=inner)])


def padded(
    around: list[int] | None = None,
    value: float = 0.0,
    mode: str = "constant",
    then: str = "AveragePool",
    **how: Any,
) -> Any:
    """A Pad, and a pool behind it."""
    constants = {
        "a": np.array([0, 0, 1, 1] * 2 if around is None else around, np.int64),
        "v": np.float32(value),
    }
    nodes = [
        node("Pad", "x a v", "p", mode=mode),
        node(then, "p", kernel_shape=[2, 2], strides=[2, 2], **({"pads": [0] * 4} | how)),
    ]
    return model(nodes, constants)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "external data": (external, r"'w' is in another file.*save_as_external_data=False"),
    "external data without a mark": (external_unmarked, "'w' is in another file"),
    "external data in a node": (external_in_a_node, "'w' is in another file"),
    "subgraph": (subgraph, "a graph inside of a node"),
    "functions": (lambda: changed(lambda m: m.functions.add(name="f")), "functions"),
    "training": (lambda: changed(lambda m: m.training_info.add()), "training"),
    "sparse": (lambda: changed(lambda m: m.graph.sparse_initializer.add()), "sparse"),
    "opset 7": (lambda: model([node("Relu")], opset=7), "opset 7: 9 to"),
    "opset 99": (lambda: model([node("Relu")], opset=99), "opset 99"),
    "another domain": (lambda: model([node("Relu", domain="com.evil")]), "domain 'com.evil'"),
    "operator": (lambda: model([node("LSTM")]), r"'here', 'LSTM': minidl reads Add,.*Tanh"),
    "softmax inside": (
        lambda: model([node("Softmax", "x", "s", axis=1), node("Relu", "s")]),
        "its input 0, 's', is what Softmax makes, which is read at the network's end alone",
    ),
    "softmax along the rows": (lambda: model([node("Softmax", axis=2)]), "axis 2"),
    "softmax of old images": (lambda: model([node("Softmax", axis=1)], opset=11), "axis 1"),
    "softmax twice": (
        lambda: model([node("Softmax", "x", "s", axis=1), node("Softmax", "s", axis=1)]),
        "axis 1",
    ),
    "softmax of a flattened image": (
        lambda: model([node("Flatten", "x", "f"), node("Softmax", "f")]),
        r"\(C, H, W\) there, \(H, W, C\) in minidl",
    ),
    "transpose inside": (
        lambda: model([node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Relu", "t")]),
        "is what Transpose makes",
    ),
    "another transpose": (lambda: model([node("Transpose", perm=[0, 1, 3, 2])]), "perm"),
    "gather of rows": (
        lambda: model([node("Gather", "x i", axis=1)], {"i": np.array([1, 0])}),
        "other than a flattened image",
    ),
    "another gather": (
        lambda: model(
            [node("Flatten", "x", "f"), node("Gather", "f i", axis=1)], {"i": np.arange(60)}
        ),
        "other than a flattened image",
    ),
    "pad of ones": (lambda: padded(value=1.0), "value 1.0: zeros are expected"),
    "pad by mirroring": (lambda: padded(mode="reflect"), "mode b'reflect'"),
    "pad of one edge": (lambda: padded([0, 0, 0, 0, 0, 0, 1, 1]), "the same at both edges"),
    "pad of channels": (lambda: padded([0, 1, 0, 0, 0, 1, 0, 0]), "the same at both edges"),
    "pad that cuts off": (lambda: padded([0, 0, -1, 0, 0, 0, -1, 0]), "the same at both edges"),
    "pad of no image": (lambda: padded([]), "the same at both edges"),
    "pad before a maximum": (
        lambda: padded(then="MaxPool"),
        "its input 0, 'p', is an image with zeros around it",
    ),
    "pad beside padding": (
        lambda: padded(then="AveragePool", pads=[1, 1, 1, 1]),
        "beside those of a Pad",
    ),
    "pad at the end": (
        lambda: model([node("Pad", "x p")], {"p": np.array([0, 0, 1, 1] * 2)}),
        "its output 'y' is an image with zeros around it",
    ),
    "arithmetic": (
        lambda: model([node("Mul", "x c", "m"), node("Relu", "m")], {"c": np.float32(3)}),
        "'m', is arithmetic that is, so far, no layer",
    ),
    "arithmetic at the end": (
        lambda: model([node("Erf")]),
        "its output 'y' is arithmetic that is, so far, no layer",
    ),
    "arithmetic of two": (
        lambda: model([node("Relu", "x", "r"), node("Mul", "x r")]),
        "on several values, or on none",
    ),
    "arithmetic on none": (
        lambda: model([node("Mul", "c c")], {"c": np.float32(3)}),
        "on several values, or on none",
    ),
    "arithmetic with a matrix": (
        lambda: model([node("Mul", "x c")], {"c": np.ones((6, 5), np.float32)}),
        r"a constant of shape \(6, 5\), not one number",
    ),
    "a number by a value": (
        lambda: model([node("Sub", "x c", "s"), node("Div", "c s")], {"c": np.float32(3)}),
        "a number that is divided by a value",
    ),
    "unknown input": (lambda: model([node("Relu", "z")]), "'z', is unknown"),
    "cycle": (lambda: model([node("Relu", "y")]), "'y', is unknown"),
    "input missing": (lambda: model([helper.make_node("Relu", [], ["y"])]), "is unknown"),
    "output twice": (lambda: model([node("Relu"), node("Tanh")]), "there already"),
    "output over a weight": (
        lambda: model([node("Relu", "x", "w"), node("Conv", "x w")], {"w": W}),
        "there already",
    ),
    "no output": (lambda: model([helper.make_node("Relu", ["x"], [])]), "no output"),
    "output not made": (lambda: model([node("Relu", "x", "z")]), "1 outputs that layers make"),
    "nothing": (lambda: onnx.ModelProto(), "opset 0"),
    "pads": (lambda: conv(pads=[0, 0, 1, 1]), r"pads \[0, 0, 1, 1\] differ between the edges"),
    "negative pads": (lambda: conv(pads=[-1, 0, -1, 0]), "pads"),
    "auto_pad": (lambda: conv(auto_pad="SAME_UPPER"), "auto_pad b'SAME_UPPER'"),
    "strides": (lambda: conv(strides=[0, 1]), r"strides \[0, 1\]"),
    "groups": (lambda: conv(group=2), r"in 2 groups do not fit 2 channels"),
    "no groups": (lambda: conv(group=0), "in 0 groups"),
    "kernel": (lambda: conv(kernel_shape=[3, 3]), r"kernel \[3, 3\]"),
    "attribute": (lambda: conv(more=1), "attribute 'more' of type INT"),
    "type of an attribute": (lambda: conv(group=[1]), "attribute 'group' of type INTS"),
    "window too large": (
        lambda: model([node("MaxPool", kernel_shape=[9, 9])]),
        "larger than the input's height",
    ),
    "padding of a pool": (
        lambda: model([node("MaxPool", kernel_shape=[2, 2], pads=[0, 0, 3, 3])]),
        "differ between the edges",
    ),
    "indices": (lambda: model([node("MaxPool", "x", "y i", kernel_shape=[2, 2])]), "second"),
    "divisor": (
        lambda: model([node("AveragePool", kernel_shape=[2, 2], ceil_mode=1, count_include_pad=1)]),
        "count_include_pad",
    ),
    "no inputs": (lambda: model([helper.make_node("Add", [], ["y"])]), "is unknown"),
    "axis": (lambda: model([node("Concat", "x x", axis=2)]), "axis 2"),
    "flatten at 2": (lambda: model([node("Flatten", axis=2)]), "axis 2"),
    "flat output": (lambda: model([node("Flatten")]), r"\(C, H, W\) there, \(H, W, C\) in minidl"),
    "shapes": (
        lambda: model([node("GlobalAveragePool", "x", "g"), node("Add", "x g")]),
        "must have the same shape",
    ),
    "matrix": (lambda: model([node("Gemm", "x m")], {"m": MATRIX}, ("n", 4)), "do not fit"),
    "gemm": (
        lambda: model([node("Gemm", "x m", alpha=2.0, transB=1)], {"m": MATRIX}, ("n", 5)),
        "other than x w",
    ),
    "bias of each sample": (
        lambda: model(
            [node("Gemm", "x m b", transB=1)],
            {"m": MATRIX, "b": np.ones((2, 3), np.float32)},
            ("n", 5),
        ),
        r"bias b of shape \(2, 3\) is not one number for each of the 3 outputs",
    ),
    "product": (lambda: model([node("MatMul", "x m")], {"m": MATRIX}, ("n", 4)), "do not fit"),
    "product of images": (lambda: model([node("MatMul", "x m")], {"m": MATRIX}), "do not fit"),
    "product with nothing": (
        lambda: model([node("MatMul", "m x")], {"m": MATRIX}),
        "no AdaptiveAvgPool2d",
    ),
    "mean over channels": (lambda: model([node("ReduceMean", axes=[1])]), r"axes \[1\]"),
    "weights that are made": (
        lambda: model([node("Relu", "x", "w"), node("Conv", "x w")]),
        "must be a constant",
    ),
    "training mode": (
        lambda: model(
            [node("BatchNormalization", "x a a a a", training_mode=1)], {"a": W[0, :, 0, 0]}
        ),
        "training mode",
    ),
    "batch of the norm": (
        lambda: model([node("BatchNormalization", "x a a a a")], {"a": W[:, 0, 0, 0]}),
        "of another shape",
    ),
    "sub alone": (lambda: model([node("Sub", "x w")], {"w": W}), "no Mul or Div"),
    "even lrn": (lambda: model([node("LRN", size=4)]), "not odd"),
    "negative slope": (
        lambda: model([node("LeakyRelu", alpha=-1.0)]),
        "slope must be a finite",
    ),
    "free height": (lambda: model([node("Relu")], shape=("n", 2, "h", 5)), "not fixed"),
    "no rank": (lambda: model([node("Relu")], shape=(1,)), "not fixed"),
    "integers": (
        lambda: model([node("Relu")], given=[value("x", "n", 2, 6, 5, kind=7)]),
        "no float32",
    ),
    "raw data too short": (
        lambda: changed(lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234")),
        r"'w': FLOAT of shape \(3, 2, 2, 2\) has 96 bytes, the file 4",
    ),
    "dimension of 2^40": (
        lambda: changed(lambda m: m.graph.initializer[0].dims.append(2**40)),
        "the file 96",
    ),
    "33 dimensions": (
        lambda: changed(lambda m: m.graph.initializer[0].dims.extend([1] * 29)),
        "its shape is none",
    ),
    "negative dimension": (
        lambda: changed(lambda m: m.graph.initializer[0].dims.append(-1)),
        "its shape is none",
    ),
    "words as weights": (
        lambda: changed(lambda m: setattr(m.graph.initializer[0], "data_type", 8)),
        "is STRING",
    ),
    "no type": (
        lambda: changed(lambda m: setattr(m.graph.initializer[0], "data_type", 999)),
        "is unknown",
    ),
    "counters": (
        lambda: changed(
            lambda m: helper.set_model_props(m, {"minidl.num_batches_tracked": "[" * 99999})
        ),
        "no JSON map",
    ),
    "arguments": (
        lambda: changed(
            lambda m: helper.set_model_props(m, {"minidl.arguments": '{"here": {"slope": "1"}}'})
        ),
        "metadata minidl.arguments is no JSON map of numbers",
    ),
    "an argument that is none": (
        lambda: changed(
            lambda m: helper.set_model_props(m, {"minidl.arguments": '{"here": {"slope": NaN}}'})
        ),
        "metadata minidl.arguments is no JSON map of numbers",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, on one line; no other file is opened."""
    build, message = BAD[case]
    path = written(tmp_path, build().SerializeToString(), "m.onnx")
    opened: list[str] = []
    for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
        _watch(module, name, opened, monkeypatch)
    with pytest.raises(ArgumentError, match=message) as caught:
        import_onnx(path)
    assert "m.onnx: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {p for p in opened if "site-packages" not in p} <= {str(path)}


def _watch(module: Any, name: str, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = getattr(module, name)

    def watched(path: Any, *arguments: Any, **how: Any) -> Any:
        if not isinstance(path, int):  # a descriptor: what it is of was opened before
            opened.append(str(path))
        return real(path, *arguments, **how)

    monkeypatch.setattr(module, name, watched)


@pytest.mark.parametrize("content", [b"no model", b"\x08" * 100, b"\xff" * 64])
def test_bytes_that_are_no_model(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"m\.onnx: it"):
        import_onnx(written(tmp_path, content, "m.onnx"))


@pytest.mark.filterwarnings("ignore:.*NaN or infinity:RuntimeWarning")
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3))
def test_changed_bytes_are_read_or_refused(changes: list[tuple[int, int]], tmp_path: Path) -> None:
    """Never another error."""
    scale = {"s": np.ones(2, np.float32).reshape(2, 1, 1), "b": np.ones(2, np.float32)}
    nodes = [
        node("Sub", "x s", "n"),
        node("Mul", "n s", "m"),
        node("BatchNormalization", "m b b b b", "a"),
        node("MaxPool", "a", "p", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 2, 0]),
        node("Conv", "p w", "c", pads=[1, 1, 1, 1]),
        node("Concat", "c c", "j", axis=1),
        node("Flatten", "j", "f"),
        node("Gemm", "f g", transB=1),
    ]
    made = model(nodes, {"w": W, "g": np.ones((2, 150), np.float32), **scale})
    content = bytearray(made.SerializeToString())
    assert import_onnx(written(tmp_path, bytes(content), "m.onnx"))[0].image == (6, 5, 2)
    for place, byte in changes:
        content[place % len(content)] = byte
    with suppress(ArgumentError, ShapeError):
        import_onnx(written(tmp_path, bytes(content), "m.onnx"))


def test_what_other_programs_write(tmp_path: Path) -> None:
    """Constants as nodes, untransposed matrices, Reshape, no names, weights of 16 bits."""
    half = numpy_helper.from_array(W.astype(np.float16))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=half),
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["c", "s"], ["d"]),
        helper.make_node("Gemm", ["d", "m", "v"], ["y"]),
    ]
    matrix = np.arange(48, dtype=np.float32).reshape(12, 4)
    constants = {"s": np.array([0, -1]), "m": matrix, "v": np.ones(4, np.float32)}
    path = tmp_path / "m.onnx"
    made = model(nodes, constants)
    path.write_bytes(made.SerializeToString())
    net, state = import_onnx(path)
    assert net.image == (6, 5, 2)
    step = dl.compile(net, 2)
    step.load_state_dict(state)
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 2)).astype(np.float32)
    reference = pytest.importorskip("onnx.reference").ReferenceEvaluator
    nodes[0].attribute[0].t.CopyFrom(numpy_helper.from_array(W))
    given = {"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
    (expected,) = reference(model(nodes, constants)).run(None, given)
    np.testing.assert_allclose(step.predict(x), expected, rtol=1e-5, atol=1e-6)


def test_without_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ArgumentError, match=r"pip install 'minidl\[onnx\]'"):
        import_onnx(written(tmp_path, b"", "m.onnx"))
