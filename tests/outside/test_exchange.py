"""A layer from outside in ONNX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl.interop import export_onnx, import_onnx, register_onnx
from minidl.interop import onnx_table as table
from minidl.ir import ArgumentError
from tests.interop.test_onnx import by_onnxruntime, channels_first, close
from tests.outside.smooth import Softplus, Swish, onnx


@pytest.fixture(autouse=True)
def rows_as_before() -> Iterator[None]:
    """What a test registers is forgotten."""
    before = dict(table.ROWS), dict(table.OPERATORS)
    yield
    for rows, old in zip((table.ROWS, table.OPERATORS), before, strict=True):
        rows.clear()
        rows.update(old)


def network(beta: float = 1.0, swish: bool = True) -> dl.Layer:
    """Softplus, and Swish on images and on vectors."""
    on_images, on_vectors = ((Swish(),), (Swish(),)) if swish else ((), ())
    layers = (dl.Conv2d(5, 3), Softplus(beta), *on_images, dl.Flatten(), dl.Linear(7), *on_vectors)
    return dl.Sequential(dl.Input((6, 7, 2)), *layers)


def settled(net: dl.Layer) -> dl.Step:
    """A step whose weights are no first ones."""
    draw = np.random.default_rng()
    step = dl.compile(net, 3, loss=dl.MSE(), optimizer=dl.SGD())
    state = step.state_dict()
    step.load_state_dict({name: draw.normal(size=a.shape) for name, a in state.items()})
    return step


def images() -> np.ndarray:
    return np.random.default_rng().normal(size=(3, 6, 7, 2)).astype(np.float32)


def test_it_is_written(tmp_path: Path) -> None:
    onnx.register()
    step, x, path = settled(net := network()), images(), tmp_path / "model.onnx"
    export_onnx(net, step, path)
    close(by_onnxruntime(path, {"input": channels_first(x)}), step.predict(x))


def test_it_is_read_back_to_the_bit(tmp_path: Path) -> None:
    onnx.register()
    step, x, path = settled(net := network(swish=False)), images(), tmp_path / "model.onnx"
    export_onnx(net, step, path)
    again, state = import_onnx(path)
    other = dl.compile(again, 3, loss=dl.MSE(), optimizer=dl.SGD())
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.predict(x), step.predict(x))


def test_what_it_cannot_say_is_refused(tmp_path: Path) -> None:
    onnx.register()
    net, path = network(beta=2.0), tmp_path / "model.onnx"
    with pytest.raises(ArgumentError, match=r"'1', Softplus\(beta=2.0\): .* a beta of 1"):
        export_onnx(net, settled(net), path)
    assert not path.exists()


def test_without_a_row_the_way_out_is_named(tmp_path: Path) -> None:
    net, path = network(), tmp_path / "model.onnx"
    with pytest.raises(ArgumentError, match="add one by register_onnx"):
        export_onnx(net, settled(net), path)
    onnx.register()
    export_onnx(net, settled(net), path)
    del table.OPERATORS["Softplus"]
    with pytest.raises(ArgumentError, match="'Softplus': minidl reads"):
        import_onnx(path)


def test_all_that_has_a_row_already_is_said_with_its_place() -> None:
    onnx.register()
    rows, operators = dict(table.ROWS), dict(table.OPERATORS)
    both = (
        rf"^{re.escape(onnx.__file__)}:\d+: Softplus is written by {re.escape(onnx.__file__)}:\d+ "
        r"already; operator Relu is read by \S+onnx_operators\.py:\d+ already; operator Gather "
        r"is read by \S+onnx_parts\.py:\d+ already"
    )
    read = {"Relu": onnx.read_softplus, "Mish": onnx.read_softplus, "Gather": onnx.read_softplus}
    with pytest.raises(ArgumentError, match=both):
        register_onnx(Softplus, onnx.write_softplus, read=read)
    assert (rows, operators) == (table.ROWS, table.OPERATORS)
