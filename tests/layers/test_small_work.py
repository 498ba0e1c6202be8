"""Work that is too small for several cores is done at once, to the same bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import minidl as dl
from minidl.ir import Array
from minidl.layers.network import as_network
from minidl.ops import host
from minidl.ops.reduction import PARTS, column_sums
from tests.training import random_batches, train


def perceptron() -> dl.Network:
    layers = dl.Linear(128), dl.ReLU(), dl.Linear(10)
    return as_network(dl.Sequential(*layers), (64,))


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_a_tiny_step_wakes_nobody(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step = dl.compile(perceptron(), batch)
    step.state_dict()
    monkeypatch.setattr(host, "_pool", lambda: pytest.fail("another core was asked"))
    monkeypatch.setattr(host, "cores", lambda: 4)
    step(np.ones((batch, 64), np.float32), np.zeros(batch, np.int64))


def networks() -> Iterator[tuple[dl.Network, tuple[int, ...]]]:
    yield perceptron(), (64,)
    layers = dl.Conv2d(6, 3, stride=2), dl.ReLU(), dl.Conv2d(8, 3, padding=1, groups=2)
    image = (11, 9, 2)
    head = dl.Conv2d(70, 1), dl.Flatten(), dl.Linear(10)
    yield as_network(dl.Sequential(*layers, *head), image), image


@pytest.mark.parametrize("case", [0, 1])
def test_bits_do_not_depend_on_who_works(case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    draw = np.random.default_rng()
    net, image = list(networks())[case]
    data = random_batches(draw, 5, image, 10)
    for small in (0, 2**62):
        monkeypatch.setattr(host.run_tiles, "__defaults__", (host.HOST_LANES, small))
        monkeypatch.setattr(host, "SMALL", small)
        found.append(train(net, data, "arena", seed=3))
    assert found[0] == found[1]


def one_by_one(matrix: Array, rows: int) -> Array:
    parts = [np.add.reduce(matrix[i : i + rows], axis=0) for i in range(0, len(matrix), rows)]
    total: Array = np.add.reduce(np.array(parts), axis=0)
    return total


@pytest.mark.parametrize("rows", [1, 2, PARTS - 1, PARTS, PARTS + 1, 5 * PARTS + 3])
@pytest.mark.parametrize("columns", [1, 3, 130])
@pytest.mark.parametrize("stride", [1, 2])
def test_column_sums_are_those_of_the_parts(rows: int, columns: int, stride: int) -> None:
    matrix = np.random.default_rng().normal(size=(rows, columns * stride)).astype(np.float32)
    matrix = matrix[:, ::stride]
    out, scratch = np.full(columns, np.nan, np.float32), np.full(PARTS * columns, np.nan, "f4")
    column_sums(out, scratch, matrix)
    np.testing.assert_array_equal(out, one_by_one(matrix, -(-rows // PARTS)))
