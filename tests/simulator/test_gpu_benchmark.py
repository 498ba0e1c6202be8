"""The GPU's measurements, run small on stand-ins: they must not fail first where time is short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from benchmarks.gpu import cifar10, kernels_part, memory_part, report, tests_part, train_part, tune
from benchmarks.gpu.about import about, write_once
from benchmarks.gpu.deadline import Deadline
from minidl.data import Arrays
from minidl.devices.cuda import CudaDevice
from minidl.launches.product import TILES
from tests.simulator import fake_cupy
from tests.simulator.build import COMPILER
from tests.simulator.networks import NETWORKS

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> CudaDevice:
    fake_cupy.install(monkeypatch)
    return CudaDevice()


def small_vgg() -> dl.Network:
    return NETWORKS["vgg_shaped"]()


def tiny_vgg() -> dl.Network:
    x = dl.Input((32, 32, 3))
    y = dl.MaxPool2d(8)(dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(4, 3, padding=1)(x))))
    return dl.Network(x, dl.Linear(10)(dl.Flatten()(y)))


def test_tests_part(device: CudaDevice) -> None:
    rows = tests_part.measure(device, Deadline(60), lambda name: "vgg_shaped float32" in name)
    rows += tests_part.measure(device, Deadline(60), lambda name: "conv2d-3x3 " in name)
    rows += tests_part.measure(device, Deadline(-1), lambda name: "conv2d-1x1 bf16" in name)
    assert [row["result"] for row in rows] == ["passed"] * 4 + ["left out: no time"]


def test_training_on_cifar10(device: CudaDevice, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    splits = [
        Arrays(generator.integers(0, 256, (n, 32, 32, 3), np.uint8), np.arange(n) % 10)
        for n in (9, 5)
    ]
    row = cifar10.measure(device, tiny_vgg(), splits, tmp_path, batch=4, epochs=2, compared=2)
    assert row["arena_equals_naive"]
    assert row["steps_compared"] == 2
    assert 0 <= row["test_accuracy"] <= 1
    assert (tmp_path / "cifar10" / "log.csv").read_text().count("\n") == 3
    assert "2 losses" in report.TABLES["cifar10"]([row])


def test_a_failed_check_is_a_row(device: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("far off")

    monkeypatch.setattr(tests_part, "ERRORS", {"float32": 0.0})
    monkeypatch.setattr(tests_part, "check_case", refuse)
    rows = tests_part.measure(device, Deadline(60), lambda name: "conv2d-many-channels" in name)
    assert [row["result"] for row in rows] == ["failed"]
    assert "AssertionError: far off" in rows[0]["error"]


def test_kernels_part(device: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    def every_op(network: dl.Network, batch: int, precision: str) -> Any:
        plan = dl.plan(network, batch, device="cuda", precision=precision, memory="naive")
        return iter(plan.graph.ops)

    monkeypatch.setattr(kernels_part, "distinct_ops", every_op)
    monkeypatch.setattr(kernels_part, "PRECISIONS", ("bf16",))
    rows = kernels_part.measure(device, Deadline(60), ((small_vgg, 2),), 1, 64)
    timed = [row for row in rows if "op" in row]
    assert any(row["kernel"] == "conv2d_wgrad" and row["tflops"] > 0 for row in timed)
    assert any(row["kernel"] == "relu_forward" and row["gbytes_per_s"] > 0 for row in timed)
    for row in timed:
        if "error" in row:
            assert row["error"] < 2e-2, row
    assert "conv2d_wgrad" in report.TABLES["kernels"](rows)


def test_tuning_finds_a_tile_for_every_product(
    device: CudaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = dl.models.lenet(5, (16, 16, 1))

    def every_op(network: dl.Network, batch: int, precision: str, tuning: Any = None) -> Any:
        plan = dl.plan(
            network, batch, device="cuda", precision=precision, memory="naive", tuning=tuning
        )
        return iter(plan.graph.ops)

    monkeypatch.setattr(tune, "distinct_ops", every_op)
    monkeypatch.setattr(tune, "SPLITS", (1, 2))
    monkeypatch.setattr(tune, "TILES", [t for t in TILES if t.m == t.n == 32])
    found = tune.tune(device, network, 2, "float32", Deadline(60), 1)
    products = [op for op in every_op(network, 2, "float32") if "products" in op.attributes]
    keys = {getattr(op.attributes["products"], op.phase).problem.key for op in products}
    assert set(found) == keys
    plan = dl.plan(network, 2, device="cuda", tuning=found, modes=False)
    for op in plan.graph.ops:
        if "products" in op.attributes and op.epilogue is None:
            product = getattr(op.attributes["products"], op.phase)
            assert (product.tile.name, product.splits) == found[product.problem.key]
    assert not tune.tune(device, network, 2, "float32", Deadline(-1), 1)


def test_train_and_memory_parts(device: CudaDevice) -> None:
    cases = ((small_vgg, 2, "float32"), (small_vgg, 2, "bf16"))
    rows = train_part.measure(device, Deadline(60), cases[:1], 2, 1)
    rows += train_part.measure(device, Deadline(-1), cases[1:], 2, 1)
    assert rows[0]["engines"]["arena"]["ms"] > 0
    assert rows[1]["left out"] == "no time"
    assert "small_vgg b2" in report.TABLES["train"](rows)
    rows = memory_part.measure(device, Deadline(60), cases, 2**20, 1)
    for row in rows:
        assert row["arena_bytes"] == row["predicted_bytes"]
        assert row["largest_batch"] >= 2
    assert "small_vgg b2" in report.TABLES["memory"](rows)


def test_results_are_never_overwritten(device: CudaDevice, tmp_path: Path) -> None:
    result = {"about": about(device), "rows": [{"check": "one", "result": "passed"}]}
    path = tmp_path / "h200" / "2026-01-01" / "tests.json"
    write_once(path, result)
    with pytest.raises(FileExistsError):
        write_once(path, {})
    assert json.loads(path.read_text()) == result
    page = report.page(tmp_path)
    assert "1 of 1 checks passed" in page
    assert page.count("Not measured yet") == 4


def test_the_page_is_of_the_newest_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == report.page()
