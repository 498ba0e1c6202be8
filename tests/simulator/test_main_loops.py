"""What kernels promise beside their values: waits of the pipeline, the order of sums, reads before
writes, banks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from benchmarks.gpu.tune import Always
from minidl.checkout import kernels_folder
from minidl.devices.kernels import unit_of
from minidl.ir import Array, Op, Tensor
from minidl.ir.bfloat16 import to_bfloat16
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.launch import scratch_of
from minidl.ops.cuda.product import TILES, Operand, Problem, Product, Tile
from tests.layers.harness import Case
from tests.simulator.bench import Ground, prepare_case
from tests.simulator.build import COMPILER
from tests.simulator.device import ORDERS, SimulatedDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.test_ops import IDS, TABLE
from tests.simulator.test_steps import BATCH, OPTIMIZERS

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

CASES = dict(zip(IDS, TABLE, strict=True))
PRECISIONS = {"simt": "float32", "tf32": "tf32", "bf16": "bf16"}
DEVICES = [
    SimulatedDevice(order, seed=seed, eager_copies=eager)
    for order in ORDERS
    for seed in range(3 if order == "random" else 1)
    for eager in (False, True)
]


# -- the pipeline ----------------------------------------------------------------------------------

STAGES = (2, 3, 4, 5, 6)
DEPTHS = {"bf16": 32, "tf32": 16}


def staged_tile(unit: str, stages: int) -> Tile:
    return Tile(unit, 32, 32, DEPTHS[unit], (16, 16), stages, 0.1)


def forward_of_a_linear_layer(unit: str, tiles: int, short: int, tile: Tile) -> tuple[Op, Ground]:
    """A sum over that many tiles of k, the last of which is a little `short`."""
    inputs = tiles * tile.k - short
    case = Case(f"{unit}-{inputs}", lambda: dl.Linear(40), ((33, inputs),), lambda *_: None)
    prepared = prepare_case(case, PRECISIONS[unit])
    op = next(op for op in prepared.ops if op.phase == "forward")
    product = Product(Problem(unit, 33, 40, inputs), tile, 1)
    products = replace(op.attributes["products"], forward=product)
    prepared.ground.ops = (replace(op, attributes={**op.attributes, "products": products}),)
    return prepared.ground.ops[0], prepared.ground


def results(unit: str, stages: int, device: SimulatedDevice) -> list[bytes]:
    """The bits of sums over few and many tiles of k, whole and short."""
    found = []
    for tiles in range(1, stages + 3):
        for short in (0, 8):
            op, ground = forward_of_a_linear_layer(unit, tiles, short, staged_tile(unit, stages))
            ground.raw(op.writes[0]).view(np.uint8)[...] = 0xFF
            ground.run(device)
            assert np.isfinite(ground.read(op.writes[0])).all(), (stages, tiles, short)
            found.append(ground.raw(op.writes[0]).tobytes())
    return found


def compile_all(unit: str, device: SimulatedDevice) -> None:
    ops = [forward_of_a_linear_layer(unit, 1, 0, staged_tile(unit, stages))[0] for stages in STAGES]
    device.prepare([unit_of(launch) for op in ops for launch in launches_of(op)])


@pytest.mark.parametrize("unit", DEPTHS)
def test_a_pipeline_of_every_length(unit: str) -> None:
    """Copies early and late, sums shorter and longer than the pipeline: the bits of two stages."""
    compile_all(unit, SimulatedDevice())
    expected = results(unit, max(STAGES), SimulatedDevice())
    for stages in STAGES:
        for device in DEVICES[:2] if stages % 2 else DEVICES[-2:]:
            found = results(unit, stages, device)
            assert found == expected[: len(found)], (stages, device)


@pytest.mark.parametrize("unit", ["bf16", pytest.param("tf32", marks=pytest.mark.slow)])
def test_a_wait_too_short_is_found_in_every_length(unit: str, tmp_path: Path) -> None:
    shutil.copytree(kernels_folder(), tmp_path / "kernels")
    source = tmp_path / "kernels" / "tensor_core.cuh"
    text = source.read_text(encoding="utf-8")
    assert text.count("<STAGES - 2>") == 1
    source.write_text(text.replace("<STAGES - 2>", "<STAGES - 1>"), encoding="utf-8")
    device = SimulatedDevice(sources=source.parent)
    compile_all(unit, device)
    for stages in STAGES:
        with pytest.raises(AssertionError):
            results(unit, stages, device)


# -- orders of sums --------------------------------------------------------------------------------


def bits_of_a_case(name: str, precision: str, tile: Tile, splits: int) -> list[bytes]:
    (_, case) = CASES[name]
    prepared = prepare_case(case, precision, Always(tile, splits))
    prepared.ground.run(SimulatedDevice(seed=tile.m))
    written = [t for op in prepared.ops for t in op.writes if t.kind != "scratch"]
    return [prepared.ground.raw(t).tobytes() for t in written]


@pytest.mark.parametrize(
    "name", ["linear-tiles", pytest.param("conv2d-many-channels", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("unit", PRECISIONS)
def test_every_tile_has_the_same_bits(unit: str, name: str) -> None:
    """Sums run over k in order, whatever the tile: one drawn, against the smallest."""
    *others, smallest = (tile for tile in TILES if tile.unit == unit)
    drawn = others[np.random.default_rng().integers(len(others))]
    expected, found = (bits_of_a_case(name, PRECISIONS[unit], t, 1) for t in (smallest, drawn))
    assert found == expected, drawn.name


def split_ops(name: str, splits: int) -> Iterator[tuple[Op, Ground]]:
    """The products of a case whose sums are split, each run in every order of blocks."""
    (_, case) = CASES[name]
    tile = next(t for t in reversed(TILES) if t.unit == "simt")
    prepared = prepare_case(case, "float32", Always(tile, splits))
    for op in prepared.ops:
        if len(launches_of(op)) == 2 and launches_of(op)[1].kernel.startswith("sum_splits"):
            prepared.ground.ops = (op,)
            yield op, prepared.ground


@pytest.mark.parametrize(("name", "splits"), [("linear-tiles", 3), ("conv2d-some-tiles", 3)])
def test_splits_are_summed_in_their_order(name: str, splits: int) -> None:
    """Whatever the order of blocks and threads: the partial sums in scratch, first to last."""
    seen, sensitive = 0, 0
    for op, ground in split_ops(name, splits):
        bits = set()
        for device in DEVICES[::2]:
            ground.raw(op.writes[0]).view(np.uint8)[...] = 0xFF
            ground.run(device)
            bits.add(ground.raw(op.writes[0]).tobytes())
        assert len(bits) == 1, op.name
        parts = ground.raw(scratch_of(op)).reshape(-1).view(np.float32)
        result = ground.raw(op.writes[0]).reshape(-1)
        parts = parts[: splits * result.size].reshape(splits, result.size)
        bias = op.reads[2] if len(op.reads) > 2 else None
        more = 0 if bias is None else np.resize(ground.raw(bias), result.size)
        assert (in_order(parts) + more).tobytes() == result.tobytes(), op.name
        sensitive += (in_order(parts[::-1]) + more).tobytes() != result.tobytes()
        seen += 1
    assert seen
    assert sensitive, "the order makes no difference"


def in_order(parts: Array) -> Array:
    total = np.zeros_like(parts[0])
    for part in parts:
        total = total + part
    return total


def test_no_kernel_has_an_atomic() -> None:
    for path in kernels_folder().glob("*.cu*"):
        code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"\batomic\w*\s*\(|\b(red|atom)\.", code), path.name


# -- in place --------------------------------------------------------------------------------------


def fused_in_place(name: str, precision: str) -> Iterator[tuple[Op, int, int]]:
    how = {"device": "cuda", "precision": precision, "optimizer": OPTIMIZERS[name]}
    for op in dl.plan(NETWORKS[name](), BATCH, **how).graph.ops:
        if op.fusion.main is not None:
            for k, j in op.in_place:
                yield op, k, j


def drawn(t: Tensor, generator: np.random.Generator) -> Array:
    if t.integer:
        return generator.integers(0, 4, t.shape).astype(t.dtype)
    values = np.abs(generator.normal(size=t.shape)).astype(np.float32)  # second moments among them
    return to_bfloat16(values) if t.dtype == "bfloat16" else values


def written(op: Op, over: tuple[Tensor, Tensor] | None, values: dict[Tensor, Array]) -> bytes:
    ground = Ground([op], over=over)
    for t, array in values.items():
        ground.raw(t)[...] = array
    ground.run(SimulatedDevice())
    ground.check_canaries()
    return b"".join(ground.raw(t).tobytes() for t in op.writes if t.kind != "scratch")


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fused_op_reads_before_it_writes(name: str, precision: str) -> None:
    """Each pair that an op with an epilogue declares in place, over the same bytes and apart."""
    generator, seen = np.random.default_rng(), set()
    for op, k, j in fused_in_place(name, precision):
        values = {t: drawn(t, generator) for t in op.reads}
        apart = written(op, None, values)
        assert written(op, (op.writes[k], op.reads[j]), values) == apart, (op.name, k, j)
        seen.add(op.kernel)
    assert seen


# -- banks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tile", [t for t in TILES if t.unit != "simt"], ids=lambda t: t.name)
@pytest.mark.parametrize("k_major", [True, False])
def test_what_a_warp_reads_at_once_lies_in_different_banks(tile: Tile, k_major: bool) -> None:
    """32 banks of 4 bytes. ldmatrix reads 8 lines of 16 bytes at a time; a TF32 fragment is one
    number a lane, of 8 indices and 4 ks. (float32 operands of bf16 products are not promised.)"""
    itemsize = 2 if tile.unit == "bf16" else 4
    for size in (tile.m, tile.n):
        lines = size if k_major else tile.k
        pitch = Operand(itemsize, k_major).tile_bytes(size, tile.k) // lines
        if itemsize == 2:
            assert pitch % 16 == 0
            banks = {line * pitch // 16 % 8 for line in range(8)}
            assert len(banks) == 8
        else:
            places = ((g, t) if k_major else (t, g) for g in range(8) for t in range(4))
            banks = {(line * pitch // 4 + inner) % 32 for line, inner in places}
            assert len(banks) == 32
