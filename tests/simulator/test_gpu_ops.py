"""The parts `kernels`, `tune` and `sanitizer` on the stand-in: right and cut off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from benchmarks.gpu import alone as alone_module
from benchmarks.gpu import exact, stand_in, tune
from benchmarks.gpu.alone import Alone, distinct_ops, products, title, values, whole
from benchmarks.gpu.kernels import BOUNDS
from benchmarks.gpu.network import Case
from minidl.cards import DEFAULT, named
from minidl.ops.cuda.product import TILES, read_tuning
from tests.simulator.build import COMPILER
from tests.simulator.gpu_parts import (
    InProcess,
    in_process,
    mutated,
    results,
    tool,
)
from tests.simulator.networks import NETWORKS

__all__ = ["in_process"]
pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
VGG = "vgg_shaped b3 float32"
SUMMED = "from_b.fetch(b);"
"""A line of the main loop in front of which a result can be changed."""


def wrong_in(rows: int, folder: Path) -> str:
    """Kernels whose linear layers are wrong in tiles of so many rows."""
    changes = [('"simt.cuh"', '"simt_wrong.cuh"'), ('#include "tensor_core.cuh"', "")]
    kernels = mutated(folder, {"linear.cu": changes})
    source = (Path(kernels) / "simt.cuh").read_text()
    assert SUMMED in source
    change = f"if (BM == {rows}) sum[0][0] = 0.5f;\n        {SUMMED}"
    (Path(kernels) / "simt_wrong.cuh").write_text(source.replace(SUMMED, change, 1))
    return kernels


def test_ops_are_timed_and_judged_until_time_is_over(in_process: InProcess) -> None:
    only = rf"ops (copy|product float32|{VGG} (0\.conv2d_wgrad|4\.maxpool2d_f|13\.linear_d))"
    found = in_process("kernels", "ops", only, cases=6)
    assert list(results(found).values()) == ["passed"] * 6 + ["left out"]
    rows = {row["op"] + row["case"][-7:]: row for row in found.rows if "op" in row}
    wgrad = next(row for row in rows.values() if "conv2d_wgrad" in row["op"] and "ms" in row)
    assert wgrad["engine_ms"] == 1.0
    assert wgrad["floor_ms"] > 0 < wgrad["ms"]
    assert 0 < wgrad["launch_ms"] < wgrad["predicted_ms"]
    assert wgrad["constant"]
    pool = next(row for row in rows.values() if "maxpool" in row["op"])
    assert "engine_ms" not in pool
    judged = [row for row in rows.values() if "error" in row]
    assert len(judged) == 1
    assert 0 < judged[0]["error"] < 1e-5
    assert f"{VGG}    3" in found.table
    assert found.listed("FAULTS") == []


def test_a_wrong_product_is_found(in_process: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stand_in.KERNELS, wrong_in(32, in_process.out / "kernels"))
    only = rf"ops {VGG} (13\.linear_forward|8\.conv2d_forward).* float64"
    found = in_process("kernels", "ops", only)
    assert sorted(results(found).values()) == ["passed", "wrong"]
    assert found.listed("FAULTS") == [f"ops: {VGG} 13.linear_forward 3x24 float64: wrong"]


def test_tiles_are_measured_until_time_is_over(
    in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in, "TILES", [t for t in TILES if t.m == t.n == 32])
    monkeypatch.setattr(stand_in, "CASES", stand_in.CASES[:1])
    only = "tune simt (m108 n16 k144|m24 n144 k3|m3 n24 k144) "
    found = in_process("tune", "tune", only, cases=2)
    assert sorted(results(found).values()) == ["left out", "passed", "passed"]
    tuning = read_tuning(in_process.out / tune.FILE)
    assert set(tuning) == {row["problem"] for row in found.rows if "problem" in row}
    plan = dl.plan(stand_in.CASES[0].build(), 3, device="cuda", memory="naive", tuning=tuning)
    of = {product.problem.key: product for _, product in products(list(plan.graph.ops))}
    for key, choice in tuning.items():
        assert (of[key].tile.name, of[key].splits) == choice
        assert key in found.table


def test_a_wrong_tile_is_never_the_best(
    in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(stand_in.KERNELS, wrong_in(64, in_process.out / "kernels"))
    monkeypatch.setattr(stand_in, "TILES", [t for t in TILES if (t.m, t.n) in ((32, 32), (64, 32))])
    monkeypatch.setattr(stand_in, "CASES", stand_in.CASES[:1])
    monkeypatch.setattr(stand_in, "SPLITS", (1,))
    found = in_process("tune", "tune", "tune simt (m3 n24 k144|m108 n16 k144) ")
    assert found.listed("FAULTS") == ["tune: simt m3 n24 k144 g1: wrong"]
    assert "simt 64x32x16 in 1 is " in found.table
    tuning = read_tuning(in_process.out / tune.FILE)
    assert tuning["simt m3 n24 k144 g1"] == ("simt 32x32x16", 1)
    assert len(tuning) == 2


def test_without_the_tool_a_row_says_so(
    in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(in_process.out))
    found = in_process("sanitizer", "sanitizer", "")
    assert results(found) == {"compute-sanitizer": "left out"}
    assert "compute-sanitizer is not installed" in found.table


def test_the_sanitizer_until_time_is_over(
    in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", tool(in_process.out / "bin"))
    only = "compute-sanitizer|memcheck .* float32"
    found = in_process("sanitizer", "sanitizer", only, cases=3)
    assert list(results(found).values()) == ["passed"] * 3 + ["left out"]
    assert "2 cases without a finding of memcheck, 0" in found.table


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_float64_judges_strides_and_groups(in_process: InProcess, precision: str) -> None:
    """The judge without PyTorch knows every product of networks that have both."""
    device, case = stand_in.device(), Case(NETWORKS["alexnet_shaped"], 3, reference_batch=3)
    for op, _ in products(distinct_ops(case, precision, DEFAULT, 0)):
        alone = Alone(device, op)
        alone.run()
        assert exact.error(op, precision, alone.result()) <= BOUNDS[precision], title(op)


def test_an_op_alone_is_timed_on_what_it_reads(in_process: InProcess) -> None:
    """Its inputs are filled anew for each turn: an update in place does not run away."""
    case = Case(NETWORKS["vgg_shaped"], 3, reference_batch=3)
    ops = distinct_ops(case, "float32", DEFAULT, 0)
    update = next(op for op in ops if op.kernel == "sgd_momentum")
    alone, written = Alone(stand_in.device(), update), update.writes[0]
    alone.run()
    once = alone.sample()
    for _ in range(2):
        assert alone.milliseconds(3) > 0
    alone.run()
    assert np.isfinite(once).all()
    assert alone.sample().tobytes() == once.tobytes()
    assert written in alone.blocks


def test_a_block_is_repeated_on_the_device(
    in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone_module, "PERIOD", 7)
    case = Case(NETWORKS["vgg_shaped"], 3, reference_batch=3)
    op = distinct_ops(case, "bf16", DEFAULT, 0)[0]
    alone = Alone(stand_in.device(), op)
    alone.fill()
    for t in op.reads:
        raw = alone.device.read(alone.memory, alone.offset(t), t.nbytes)
        there = values(t, raw)
        assert len(np.unique(there)) == min(7, t.size)
        expected = whole(t).ravel()
        np.testing.assert_allclose(there, expected, rtol=2**-8)


def test_plans_are_for_the_card_that_is_there() -> None:
    case = stand_in.CASES[0]
    small = named("rtx3060")
    of_small = [p for _, p in products(distinct_ops(replace(case, batch=64), "bf16", small, 0))]
    of_large = [p for _, p in products(distinct_ops(replace(case, batch=64), "bf16", DEFAULT, 0))]
    assert of_small != of_large
