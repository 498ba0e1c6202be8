"""Ops of more than one launch can take: several launches, as one would have done it."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.ir import Contract, Op, Tensor, part_of
from minidl.ir.bfloat16 import from_bfloat16, to_bfloat16
from minidl.ops.cuda import launches_of
from minidl.ops.signs import keep_positive, pack_signs
from minidl.ops.sums import gradient_sum
from tests.layers.harness import Case
from tests.simulator.bench import Ground, check_case
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

CHANNELS = 515
MEAN, STD = (
    tuple(np.random.default_rng(0).uniform(low, 2, CHANNELS).tolist()) for low in (-2, 0.5)
)
CASES = [
    Case(
        "normalize-many-channels",
        lambda: dl.Normalize(MEAN, STD),
        ((3, CHANNELS),),
        lambda x: (x - MEAN) / STD,
    ),
    Case("add-many", dl.Add, ((2, 3, 3, 4),) * 70, lambda *inputs: sum(inputs)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_many_channels_and_many_inputs(case: Case) -> None:
    check_case(case, "float32", SimulatedDevice())


@pytest.mark.parametrize("over", [0, 1, None])
def test_a_sum_of_many_gradients_is_rounded_part_by_part(over: int | None) -> None:
    parts = [Tensor(f"part{i}", (3, 8), "bfloat16", "gradient") for i in range(70)]
    total = Tensor("total", (3, 8), "bfloat16", "gradient")
    op = Op(
        gradient_sum, "add", "dgrad", (total,), tuple(parts), contract=Contract(elementwise=True)
    )
    assert len(launches_of(op)) == 3
    ground = Ground([op], over=None if over is None else (total, parts[over]))
    generator, expected = np.random.default_rng(), np.zeros((3, 8), np.float32)
    for i, part in enumerate(parts):
        ground.write(part, generator.normal(size=part.shape))
        expected += ground.read(part)
        expected = from_bfloat16(to_bfloat16(expected)) if i else expected
    ground.run(SimulatedDevice())
    np.testing.assert_array_equal(ground.read(total), expected)
    ground.check_canaries()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_signs_of_more_elements_than_are_counted(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rows lie apart; the last chunk is no whole 8 rows."""
    wide = Tensor("wide", (7, 5, 1, 12), dtype, "activation")
    y = part_of(wide, 3, 4, 10, "y")
    dx, dy = (Tensor(name, y.shape, dtype, "gradient") for name in ("dx", "dy"))
    signs = Tensor("signs", (-(-y.size // 8),), "uint8", "mask")
    ops = (
        Op(pack_signs, "relu", "dgrad", (signs,), (y,)),
        Op(keep_positive, "relu", "dgrad", (y,), (dy, signs)),
        Op(keep_positive, "relu", "dgrad", (dx,), (y, signs)),
    )
    assert [len(launches_of(op)) for op in ops] == [1, 1, 1]
    monkeypatch.setattr("minidl.ops.cuda.signs.COUNTED", 100)
    assert [len(launches_of(op)) for op in ops] == [3, 3, 3]
    ground = Ground(ops)
    generator = np.random.default_rng()
    values = generator.normal(size=wide.shape)
    ground.write(wide, values)
    ground.write(dy, generator.normal(size=dy.shape))
    ground.run(SimulatedDevice())
    expected = np.where(values[..., 4:10] > 0, ground.read(dy), 0)
    np.testing.assert_array_equal(ground.read(dx), expected)
    np.testing.assert_array_equal(ground.raw(signs), np.packbits(values[..., 4:10] > 0))
    outside = ground.read(wide)[..., 10:].astype(np.float32)
    np.testing.assert_allclose(outside, values[..., 10:], rtol=1e-2)
    ground.check_canaries()
