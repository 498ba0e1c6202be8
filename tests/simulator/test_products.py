"""Every tile of the matrix products, split and whole, and the choice between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import minidl as dl
from benchmarks.gpu.tune import Always
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.product import (
    LAYERS,
    TILES,
    Problem,
    Product,
    Tile,
    choose,
    modelled_seconds,
    read_tuning,
)
from tests.simulator.bench import ERRORS, assert_close, prepare_case, run_case
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice
from tests.simulator.test_ops import IDS, TABLE

CASES = dict(zip(IDS, TABLE, strict=True))
CASES_AND_SPLITS = (
    ("conv2d-some-tiles", 3),
    ("conv2d-many-channels", 1),
    ("conv2d-few-channels-many-pixels", 1),
    ("conv2d-few-channels-many-pixels", 3),
    ("linear-tiles", 1),
    ("linear-tiles", 3),
)
LARGE = 2**25
PRECISIONS = {"simt": "float32", "tf32": "tf32", "bf16": "bf16"}


@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
@pytest.mark.parametrize(("name", "splits"), CASES_AND_SPLITS)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name.replace(" ", "-"))
def test_tile(tile: Tile, name: str, splits: int) -> None:
    (_, case), precision = CASES[name], PRECISIONS[tile.unit]
    tuning = Always(tile, splits)
    prepared = prepare_case(case, precision, tuning)
    kernels = {k.kernel for op in prepared.ops for k in launches_of(op)}
    products = [kernel for kernel in kernels if kernel.startswith("Gemm")]
    assert products
    sizes = f"{tile.m}, {tile.n}, {tile.k}"
    assert all(sizes in kernel for kernel in products)
    assert any(kernel.startswith("sum_splits") for kernel in kernels) == (splits > 1)
    run = run_case(case, precision, SimulatedDevice(eager_copies=splits > 1), tuning)
    assert_close(run, ERRORS[precision])


@pytest.mark.parametrize("unit", ["simt", "tf32", "bf16"])
def test_the_model_prefers_what_fills_the_chip(unit: str) -> None:
    large = choose(Problem(unit, 802816, 256, 2304), LARGE, True, None)
    assert (large.tile.m, large.tile.n, large.splits) == (128, 128, 1)
    small = choose(Problem(unit, 10, 5, 7), LARGE, True, None)
    assert (small.tile.m, small.tile.n, small.splits) == (32, 32, 1)
    deep = choose(Problem(unit, 64, 576, 802816), LARGE, True, None)
    assert deep.splits > 8
    assert deep.scratch == deep.splits * 64 * 576
    assert choose(Problem(unit, 64, 576, 802816), LARGE, False, None).splits == 1
    assert choose(Problem(unit, 64, 576, 802816), 1000, True, None).splits == 1


def test_a_grid_has_no_more_layers_than_a_gpu_takes() -> None:
    for groups in (512, 2048, 60_000):
        product = choose(Problem("simt", 1, 9, 128 * 56 * 56, groups), LARGE, True, None)
        assert product.splits * groups <= LAYERS
    layer = dl.Conv2d(2**16, 1, groups=2**16)
    net = dl.Sequential(dl.Input((2, 2, 2**16)), layer, dl.AdaptiveAvgPool2d(1), dl.Flatten())
    with pytest.raises(dl.PlanError, match="fewer groups"):
        dl.plan(net, 2, device="cuda")


def test_splits_cover_the_sum_in_whole_steps() -> None:
    for splits in (1, 2, 3, 8):
        product = Product(Problem("simt", 64, 64, 1000), TILES[3], splits)
        assert product.k_of_a_split % product.tile.k == 0
        assert product.k_of_a_split * splits >= 1000
        assert modelled_seconds(product) > 0


def test_a_measured_choice_wins(tmp_path: Path) -> None:
    problem = Problem("simt", 802816, 256, 2304)
    file = tmp_path / "tuning.json"
    file.write_text(json.dumps({problem.key: ["simt 64x64x16", 1]}))
    assert choose(problem, LARGE, True, read_tuning(file)).tile.name == "simt 64x64x16"
    file.write_text(json.dumps({problem.key: ["simt 99x64x16", 1]}))
    with pytest.raises(dl.ArgumentError, match="no tile 'simt 99x64x16'"):
        read_tuning(file)
    with pytest.raises(dl.ArgumentError, match="no tuning file"):
        read_tuning(tmp_path / "none.json")


def test_a_tuning_file_is_taken_by_plan(tmp_path: Path) -> None:
    network = dl.models.lenet(10, (32, 32, 1))
    problem = Problem("simt", 64, 120, 400)
    file = tmp_path / "tuning.json"
    file.write_text(json.dumps({problem.key: ["simt 64x64x16", 1]}))
    plan = dl.plan(network, 64, device="cuda", tuning=file)
    tiles = [op.attributes["products"].forward for op in plan.graph.ops if "linear" in op.kernel]
    assert next(p.tile.name for p in tiles if p.problem == problem) == "simt 64x64x16"
