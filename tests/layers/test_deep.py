"""Layers in layers in layers, far deeper than Python calls: as the same layers in a row."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl.interop.onnx_export import export_onnx
from minidl.interop.onnx_import import import_onnx
from minidl.ir import ArgumentError

DEPTH = 1000
EVERY = 50
"""A layer of its own at each such depth: a thousand would take a while to plan."""


def own_layers(depth: int) -> Iterator[dl.Layer]:
    for k in range(0, depth, EVERY):
        yield dl.ReLU() if k % (2 * EVERY) else dl.Linear(3)


def nested(depth: int = DEPTH) -> dl.Sequential:
    """The layer of a depth stands first or last in its Sequential."""
    inner: dl.Layer = dl.Linear(2)
    for k, layer in enumerate(own_layers(depth)):
        inner = dl.Sequential(layer, inner) if k % 2 else dl.Sequential(inner, layer)
        for _ in range(EVERY - 1):
            inner = dl.Sequential(inner)
    return dl.Sequential(dl.Input(4), inner)


def in_a_row(depth: int = DEPTH) -> dl.Sequential:
    row: list[dl.Layer] = [dl.Linear(2)]
    for k, layer in enumerate(own_layers(depth)):
        row.insert(0 if k % 2 else len(row), layer)
    return dl.Sequential(dl.Input(4), *row)


def networks(depth: int) -> dl.Network:
    net: dl.Layer = dl.Linear(2)
    for _ in range(depth):
        x = dl.Input(4)
        net = dl.Network(x, net(x))
    assert isinstance(net, dl.Network)
    return net


def test_trains_to_the_same_bits() -> None:
    r = np.random.default_rng(1)
    x, labels = r.random((2, 4), np.float32), np.array([0, 1], np.int32)
    deep, row = dl.compile(nested(), 2), dl.compile(in_a_row(), 2)
    deep.load_state_dict(dict(zip(deep.state_dict(), row.state_dict().values(), strict=True)))
    assert [float(deep(x, labels)) for _ in range(3)] == [float(row(x, labels)) for _ in range(3)]
    np.testing.assert_array_equal(deep.predict(x), row.predict(x))


def test_names_are_the_way_down() -> None:
    plan = dl.plan(nested(), 2, memory="naive")
    names = [v.name for v in plan.graph.variables if v.tensor.kind == "parameter"]
    assert max(name.count(".") for name in names) == DEPTH + 1
    assert len(set(names)) == len(names)
    rows = plan.summary().rows
    kinds = [type(layer).__name__ for layer in in_a_row().children.values()]
    assert [row.kind for row in rows] == [*kinds, "CrossEntropy"]
    assert repr(nested()).count("Linear") == sum(row.kind == "Linear" for row in rows)


@pytest.mark.parametrize("make", [nested, lambda: networks(300)], ids=["sequential", "network"])
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["copy", "pickle"],
)
def test_copies(make: Callable[[], dl.Layer], copied: Callable[[dl.Layer], dl.Layer]) -> None:
    net = make()
    assert repr(copied(net)) == repr(net)


def test_what_a_copy_shares_is_shared_in_it() -> None:
    shared = dl.Linear(4)
    inner = dl.Sequential(shared, dl.Sequential(shared))
    outer, same = copy.deepcopy((dl.Sequential(dl.Input(4), inner, inner), inner))
    first, second = outer.children.values()
    assert first is second is same
    assert len({t for note in dl.plan(outer, 2).graph.layers for t in note.parameters}) == 2


def test_a_thousand_networks_in_each_other_are_one_layer() -> None:
    assert len(dl.plan(networks(DEPTH), 2).graph.layers) == 2


def test_onnx(tmp_path: Path) -> None:
    net, x = nested(), np.random.default_rng(2).random((2, 4), np.float32)
    step = dl.compile(net, 2)
    export_onnx(net, step.state_dict(), tmp_path / "m.onnx")
    again, state = import_onnx(tmp_path / "m.onnx")
    other = dl.compile(again, 2)
    other.load_state_dict(state)
    np.testing.assert_array_equal(step.predict(x), other.predict(x))


def test_one_that_lies_in_itself() -> None:
    inner = dl.Sequential(dl.ReLU())
    outer = dl.Sequential(dl.Input(4), dl.Sequential(inner))
    inner.children["1"] = outer
    with pytest.raises(ArgumentError, match=r"layer '0\.0\.1', Sequential\(0\), lies in itself"):
        dl.plan(outer, 2)
