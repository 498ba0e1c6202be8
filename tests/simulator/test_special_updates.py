"""Special values in the ops that no layer has: optimizers, packed signs. Both devices, by class."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.devices.known import target_of
from minidl.ir import Array, Contract, Lowering, Op, Tensor
from minidl.ops.signs import keep_positive, pack_signs, signs_shape
from minidl.options import Options
from tests.layers.harness import SEED
from tests.simulator.bench import Ground
from tests.simulator.build import COMPILER
from tests.simulator.device import SimulatedDevice
from tests.simulator.special import classes

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="g++ is not installed"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

GENERATOR = np.random.default_rng([SEED, 23])
SHAPE = (3, 80)
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1e-38, 1e38, -1e38, 1.5, -0.75)
OPTIMIZERS: dict[str, dl.Optimizer] = {
    "sgd": dl.SGD(0.1),
    "momentum": dl.SGD(0.1, 0.9, weight_decay=5e-4),
    "nesterov": dl.SGD(0.1, 0.9, nesterov=True),
    "adam": dl.Adam(1e-3),
    "adamw": dl.AdamW(1e-3),
}


def draw(shape: tuple[int, ...] = SHAPE) -> Array:
    return GENERATOR.choice(np.array(SPECIAL, np.float32), shape)


def on_both(ops: list[Op], values: dict[Tensor, Array]) -> list[dict[str, Array]]:
    """What the ops write, on the CUDA device and in NumPy."""
    ground = Ground(ops, values)
    arrays = {t: np.zeros(t.shape, t.dtype) for op in ops for t in (*op.writes, *op.reads)}
    for t, value in values.items():
        ground.write(t, value)
        arrays[t][...] = value
    ground.run(SimulatedDevice(seed=4))
    ground.check_canaries()
    for op in ops:
        op.function(*(arrays[t] for t in op.operands), **op.attributes)
    written = {t for op in ops for t in op.writes}
    return [{t.name: ground.read(t) for t in written}, {t.name: arrays[t] for t in written}]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_has_the_same_classes_and_values(name: str) -> None:
    lowering = Lowering(1, target=target_of(Options(device="cuda")))
    w, dw = Tensor("w", SHAPE, "float32", "parameter"), Tensor("d:w", SHAPE, "float32", "gradient")
    site = lowering.site("fc", w)
    OPTIMIZERS[name].lower(site, w, dw, "weight")
    values = {w: draw(), dw: draw()}
    for variable in lowering.variables.values():
        t = variable.tensor
        start = np.asarray(variable.initial(GENERATOR, t.shape), t.dtype)
        values[t] = start if t.shape == () else np.abs(draw())  # a mean of squares is none below 0
    found, expected = on_both(site.forward_ops, values)
    for key, array in expected.items():
        np.testing.assert_array_equal(classes(found[key]), classes(array), key)
        np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=3e-45, err_msg=key)


def test_packed_signs_pass_what_is_positive_or_nan() -> None:
    """Bit by bit the same on both devices; the gradient is cut to +0 or passes as it is."""
    y, dy = (Tensor(name, SHAPE, "float32", "activation") for name in ("y", "dy"))
    signs = Tensor("signs", signs_shape(y.size), "uint8", "mask")
    dx = Tensor("dx", SHAPE, "float32", "gradient")
    packs = Op(pack_signs, "", "dgrad", (signs,), (y,), contract=Contract(strided=True))
    keeps = Op(keep_positive, "", "dgrad", (dx,), (dy, signs), contract=Contract(strided=True))
    values = {y: draw(), dy: draw()}
    passes = ~(values[y] <= 0)
    expected = np.where(passes, values[dy], np.float32(0))
    assert np.isnan(values[y]).any()
    for made in on_both([packs, keeps], values):
        np.testing.assert_array_equal(made["signs"], np.packbits(passes))
        assert made["dx"].tobytes() == expected.tobytes()
