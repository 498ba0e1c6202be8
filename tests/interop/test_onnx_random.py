"""What is exported is read back: random networks over every layer of ONNX's table.

The network that comes back has the same state dict and predicts the same bits; onnxruntime agrees
with both. Of 300 drawn so 114 were read before exporter and importer had one table, and all since.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, given, seed, settings

import minidl as dl
from minidl.interop import export_onnx, import_onnx
from minidl.interop.onnx_proto import NEWEST_OPSET
from minidl.interop.onnx_table import ENDS, OPERATORS, ROWS
from minidl.ir import Array
from tests.compiler.random_networks import described
from tests.interop.random_exports import exports
from tests.interop.test_onnx import by_onnxruntime, channels_first, same_weights, settle

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

AGREES = 3e-5
"""With onnxruntime, of the largest output or of 1: sums are added up in another order."""

HOW: Any = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


def compiled(net: dl.Network, batch: int, start: int = 0) -> dl.Step:
    """In the mode that is planned fastest; its bits are those of all."""
    return dl.compile(
        net, batch, memory="naive", loss=dl.MSE(), optimizer=dl.SGD(momentum=0), seed=start
    )


def images_for(net: dl.Network, batch: int) -> Array:
    generator = np.random.default_rng(5)
    ((shape, dtype),) = net.input_specs
    if dtype == "uint8":
        return generator.integers(0, 256, (batch, *shape)).astype(np.uint8)
    return generator.normal(size=(batch, *shape)).astype(np.float32)


def as_exported(y: Array, how: dict[str, Any]) -> Array:
    """What `predict` returns, in the form that was asked for."""
    if how["probabilities"]:
        y = np.exp(y - y.max(-1, keepdims=True))
        y /= y.sum(-1, keepdims=True)
    return y if how["channels_last"] else channels_first(y)


def round_trip(net: dl.Network, batch: int, how: dict[str, Any], path: Path) -> None:
    step = compiled(net, batch)
    settle(step)
    export_onnx(net, step, path, **how)
    x = images_for(net, batch)
    expected = step.predict(x)
    asked = x if how["channels_last"] else channels_first(x)
    runtime, wanted = by_onnxruntime(path, {"input": asked}), as_exported(expected, how)
    assert runtime.shape == wanted.shape
    # a softmax has an error as large as that of what it is of
    assert np.abs(runtime - wanted).max() <= AGREES * max(1.0, float(np.abs(expected).max()))
    again, state = import_onnx(path)
    same_weights(step, state)
    assert again.input_specs == net.input_specs
    other = compiled(again, batch, start=9)
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.predict(x), expected)


def held(count: int, start: int, path: Path) -> Counter[str]:
    """That many exports, each read back; the operators that were written."""
    written: Counter[str] = Counter()

    @seed(start)
    @settings(max_examples=count, **HOW)
    @given(exports())
    def trip(drawn: tuple[dl.Network, int, dict[str, Any]]) -> None:
        net, batch, how = drawn
        event(f"opset {how['opset']}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                round_trip(net, batch, how, path)
            except Exception as error:
                raise AssertionError(f"{how}:\n{described(net)}") from error
        written.update({n.op_type for n in onnx.load(path).graph.node})

    trip()
    return written


def test_random_exports_are_read_back(tmp_path: Path) -> None:
    written = held(80, 1, tmp_path / "m.onnx")
    assert {"Gather", "Gemm", "Mul", "Softmax", "Transpose"} <= written.keys()


@pytest.mark.slow
@pytest.mark.parametrize("start", range(int(os.environ.get("MINIDL_ONNX_EXPORTS", "1000")) // 100))
def test_many_random_exports_are_read_back(start: int, tmp_path: Path) -> None:
    held(100, 1000 + start, tmp_path / "m.onnx")


# -- the table -------------------------------------------------------------------------------------

IMAGE = (6, 5, 4)
SAMPLES: dict[type[dl.layers.Layer], list[dl.layers.Layer]] = {
    dl.Conv2d: [dl.Conv2d(4, 3, padding=1), dl.Conv2d(4, 1, groups=2, bias=False)],
    dl.Linear: [],
    dl.BatchNorm2d: [dl.BatchNorm2d()],
    dl.ReLU: [dl.ReLU()],
    dl.LeakyReLU: [dl.LeakyReLU(0.1)],
    dl.Sigmoid: [dl.Sigmoid()],
    dl.Tanh: [dl.Tanh()],
    dl.GELU: [dl.GELU(), dl.GELU("tanh")],
    dl.Dropout: [],
    dl.Flatten: [],
    dl.LocalResponseNorm: [dl.LocalResponseNorm(3)],
    dl.Add: [],
    dl.Concat: [],
    dl.Normalize: [dl.Normalize(0.5, 2.0), dl.Normalize((0.1, 0.2, 0.3, 0.4), 3.0)],
    dl.MaxPool2d: [dl.MaxPool2d(2, ceil_mode=True), dl.MaxPool2d(3, 2, 1)],
    dl.AvgPool2d: [dl.AvgPool2d(3, 3, 1, ceil_mode=True), dl.AvgPool2d(3, 2, 1)],
    dl.AdaptiveAvgPool2d: [
        dl.AdaptiveAvgPool2d(1),
        dl.AdaptiveAvgPool2d((3, 5)),
        dl.AdaptiveAvgPool2d((2, 1)),
        dl.AdaptiveAvgPool2d(4),
    ],
}
"""Layers of images, in each way in which they are written."""


def around(layer: dl.layers.Layer) -> dl.Network:
    x = dl.Input(IMAGE)
    return dl.Network(x, layer(x, name="a"))


def all_of(kind: type[dl.layers.Layer]) -> list[dl.Network]:
    x = dl.Input(IMAGE)
    flat = dl.Flatten()(dl.ReLU()(x, name="relu"), name="flat")
    more: dict[type[dl.layers.Layer], dl.layers.Node] = {
        dl.Linear: dl.Linear(3, bias=False)(dl.Linear(5)(flat, name="a"), name="b"),
        dl.Flatten: flat,
        dl.Dropout: dl.Dropout(0.3)(dl.ReLU()(x, name="relu"), name="a"),
        dl.Add: dl.Add()(dl.Add()(x, x, x, name="a"), dl.ReLU()(x, name="relu"), name="b"),
        dl.Concat: dl.Concat()(flat, dl.Linear(3)(flat, name="a"), name="b"),
    }
    return [dl.Network(x, more[kind])] if kind in more else [around(s) for s in SAMPLES[kind]]


def test_the_table_has_every_layer() -> None:
    layers = {v for v in vars(dl.layers).values() if isinstance(v, type)}
    kinds = {v for v in layers if issubclass(v, dl.layers.Layer) and not issubclass(v, dl.Loss)}
    assert set(ROWS) == kinds - {dl.layers.Layer, dl.Network, dl.Sequential} == set(SAMPLES)


def test_rows_agree() -> None:
    """One operator has one reader, whichever row it stands in."""
    for row in ROWS.values():
        assert all(OPERATORS[operator] is reader for operator, reader in row.read.items())
    assert not ENDS.keys() & {operator for row in ROWS.values() for operator in row.read}


@pytest.mark.parametrize("opset", [17, NEWEST_OPSET])
@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)
def test_rows_read_what_they_write(kind: type[dl.layers.Layer], opset: int, tmp_path: Path) -> None:
    """And every operator of theirs is in them: what is written has a reader in its own row."""
    path, how = tmp_path / "m.onnx", {"channels_last": False, "probabilities": False}
    for net in all_of(kind):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            round_trip(net, 2, how | {"opset": opset}, path)
        own = {type(n.layer) for n in net.nodes if n.layer}
        assert {type(n.layer) for n in import_onnx(path)[0].nodes if n.layer} == own
        known = {operator for k in own for operator in ROWS[k].read}
        written = {n.op_type for n in onnx.load(path).graph.node} - ENDS.keys()
        assert written <= known
