"""Clipping and accumulation on the CUDA device, run on the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import minidl as dl
from tests.drawn import drawn
from tests.simulator.build import COMPILER
from tests.simulator.device import ORDERS, SimulatedDevice
from tests.simulator.networks import NETWORKS
from tests.simulator.test_steps import BATCH, batches, options
from tests.training import (
    OTHER_MODES,
    assert_same_bits_in_every_mode,
    random_batches,
    state_bits,
    train,
)

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

HOW: dict[str, dict[str, Any]] = {
    "clip": {"clip_norm": 0.4},
    "accumulate": {"accumulate": 3},
    "both": {"clip_norm": 0.4, "accumulate": 2},
}


WAYS = [pytest.param(how, marks=() if how == "both" else pytest.mark.slow) for how in HOW]
"""What has both has each."""


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_mode_has_the_same_bits(name: str, how: str) -> None:
    """One optimizer each: momentum, Adam, Nesterov, AdamW; half of the modes in a session."""
    network = NETWORKS[name]()
    settings = options(name, device=SimulatedDevice(), **HOW[how])
    modes = drawn(OTHER_MODES, 2, list(NETWORKS).index(name))
    assert_same_bits_in_every_mode(network, batches(network, 4), modes=modes, **settings)


@pytest.mark.parametrize("how", WAYS)
def test_plain_sgd_in_bf16_has_the_same_bits_in_every_mode(how: str) -> None:
    network = NETWORKS["googlenet_shaped"]()
    settings = {"optimizer": dl.SGD(0.05), "device": SimulatedDevice(), "precision": "bf16"}
    settings |= HOW[how] | {"modes": drawn(OTHER_MODES, 2)}
    assert_same_bits_in_every_mode(network, batches(network, 4), **settings)


@pytest.mark.parametrize("how", WAYS)
def test_recompute_and_every_order_have_the_same_bits(how: str) -> None:
    network, device = NETWORKS["vgg_shaped"](), SimulatedDevice()
    data = batches(network, 4)
    expected = train(network, data, "naive", **options("vgg_shaped", device=device, **HOW[how]))
    for order in ORDERS:
        settings = options("vgg_shaped", device=replace(device, order=order, seed=3), **HOW[how])
        assert train(network, data, "arena", recompute=0.3, **settings) == expected, order


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_as_the_cpu_device(name: str, how: str) -> None:
    network = NETWORKS[name]()
    cpu, cuda = (
        dl.compile(network, BATCH, **options(name, device=device, debug=True, **HOW[how]))
        for device in ("cpu", SimulatedDevice())
    )
    for batch in batches(network, 4):
        assert cuda(*batch) == pytest.approx(cpu(*batch), rel=2e-5)
        assert cuda.held == cpu.held
        if "clip_norm" in HOW[how]:
            assert cuda.gradient_norm == pytest.approx(cpu.gradient_norm, rel=1e-4)
    for variable, array in cpu.state_dict().items():
        difference = np.linalg.norm(cuda.state_dict()[variable] - array)
        assert difference <= 5e-3 * np.linalg.norm(array) + 1e-6, variable


def wide(**how: Any) -> dl.Step:
    """A matrix whose squares are summed in several parts, the last of them short."""
    x = dl.Input(310)
    net = dl.Network(x, dl.Linear(90)(x, name="fc"))
    return dl.compile(net, 4, optimizer=dl.SGD(0.0, 0.9), clip_norm=1e9, **how)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_norm_of_a_large_matrix(device: str) -> None:
    """Without decay the first step leaves the gradients in the momentum."""
    step = wide(device=SimulatedDevice() if device == "cuda" else "cpu")
    ((x, labels),) = random_batches(np.random.default_rng(12), 4, (310,), 90, count=1)
    step(x, labels)
    parts = (step.array(f"fc.{name}.momentum").astype(np.float64) for name in ("weight", "bias"))
    norm = np.sqrt(sum((g**2).sum() for g in parts))
    assert step.gradient_norm == pytest.approx(norm, rel=2e-6)


@pytest.mark.parametrize(("value", "norm"), [(1e25, np.inf), (np.nan, np.nan)])
def test_a_norm_that_is_not_finite_is_not_hidden(value: float, norm: float) -> None:
    images, labels = np.full((4, 310), value), np.zeros(4, np.int64)
    step, watched = (wide(device=SimulatedDevice(), check_finite=c) for c in (False, True))
    for each in (step, watched):
        for name in ("fc.weight", "fc.bias"):
            each.array(name)[...] = 0
    step(images, labels)
    assert np.array_equal(step.gradient_norm, norm, equal_nan=True)
    assert np.isnan(step.array("fc.weight.momentum")).any() == np.isnan(norm)
    with pytest.raises(dl.NotFiniteError):
        watched(images, labels)


def test_what_is_fused() -> None:
    """The sum in wgrad's epilogue, the coefficient in front of every optimizer's first op."""
    optimizers = (dl.SGD(0.1), dl.SGD(0.1, 0.9), dl.SGD(0.1, 0.9, nesterov=True), dl.Adam())
    network = NETWORKS["vgg_shaped"]()
    kernels = {
        op.kernel
        for optimizer in optimizers
        for how in HOW.values()
        for op in dl.plan(network, BATCH, device="cuda", optimizer=optimizer, **how).graph.ops
    }
    assert kernels >= {
        "conv2d_wgrad+accumulate_gradient",
        "linear_wgrad+accumulate_gradient",
        "clip_gradient+sgd",
        "clip_gradient+sgd_momentum",
        "clip_gradient+sgd_nesterov",
        "clip_gradient+adam_moments",
    }
    assert "clip_gradient" not in kernels


def test_predictions_between_calls_change_nothing() -> None:
    network = NETWORKS["vgg_shaped"]()
    how = options("vgg_shaped", device=SimulatedDevice(), **HOW["both"])
    plain, asked = (dl.compile(network, BATCH, **how) for _ in range(2))
    for batch in batches(network, 3):
        assert plain(*batch) == asked(*batch)
        asked.predict(batch[0])
    assert state_bits(plain) == state_bits(asked)
