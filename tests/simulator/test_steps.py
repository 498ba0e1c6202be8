"""Whole training steps on the CUDA device, run on the CPU: the same bits in every memory mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.compiler.modes import switches
from minidl.ir import Array
from minidl.layers.network import as_network
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.staged import Staging
from tests.drawn import drawn
from tests.simulator.build import COMPILER
from tests.simulator.device import ORDERS, SimulatedDevice
from tests.simulator.networks import CLASSES, NETWORKS
from tests.training import OTHER_MODES, Batch, assert_same_bits_in_every_mode, train

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

BATCH = 3
ERRORS = {"float32": 2e-5, "tf32": 1e-2, "bf16": 5e-2}
"""Bounds of the relative error of each loss against the CPU device in float32."""
OPTIMIZERS = {
    "alexnet_shaped": dl.SGD(0.05, 0.9, weight_decay=5e-4),
    "vgg_shaped": dl.Adam(1e-3),
    "resnet_shaped": dl.SGD(0.05, 0.9, nesterov=True),
    "googlenet_shaped": dl.AdamW(1e-3),
}


def batches(network: dl.Network, count: int = 2) -> list[Batch]:
    generator = np.random.default_rng()
    ((shape, dtype),) = network.input_specs

    def made_images() -> Array:
        if dtype == "uint8":
            return generator.integers(0, 256, (BATCH, *shape), np.uint8)
        return generator.normal(size=(BATCH, *shape))

    return [(made_images(), generator.integers(0, CLASSES, BATCH)) for _ in range(count)]


def options(name: str, **more: Any) -> dict[str, Any]:
    return {"optimizer": OPTIMIZERS[name], "seed": 7, **more}


@pytest.mark.parametrize("precision", ERRORS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_mode_has_the_same_bits(name: str, precision: str) -> None:
    """Half of the modes in a session, other ones for each network and precision."""
    network = NETWORKS[name]()
    how = options(name, device=SimulatedDevice(), precision=precision)
    part = list(NETWORKS).index(name) + list(ERRORS).index(precision)
    modes = drawn(OTHER_MODES, 2, part)
    assert_same_bits_in_every_mode(network, batches(network), modes=modes, **how)


@pytest.mark.parametrize("name", NETWORKS)
def test_recompute_and_every_order_have_the_same_bits(name: str) -> None:
    network, device = NETWORKS[name](), SimulatedDevice()
    data = batches(network)
    expected = train(network, data, "naive", **options(name, device=device))
    ways = list(product(ORDERS, (False, True)))
    for order, eager in drawn(ways, 2, list(NETWORKS).index(name)):
        how = options(name, device=replace(device, order=order, eager_copies=eager, seed=3))
        assert train(network, data, "arena", recompute=0.3, **how) == expected, (order, eager)


@pytest.mark.parametrize("precision", ERRORS)
@pytest.mark.parametrize("name", NETWORKS)
def test_as_the_cpu_device(name: str, precision: str) -> None:
    network = NETWORKS[name]()
    data = batches(network, 3)
    cpu = dl.compile(network, BATCH, **options(name))
    cuda = dl.compile(
        network, BATCH, **options(name, device=SimulatedDevice(), precision=precision)
    )
    for i, batch in enumerate(data):
        found, expected = cuda(*batch), cpu(*batch)
        if (
            i == 0 or precision == "float32"
        ):  # later steps magnify what rounding did to earlier ones
            assert found == pytest.approx(expected, rel=ERRORS[precision])
    if precision == "float32":
        for variable, array in cpu.state_dict().items():
            difference = np.linalg.norm(cuda.state_dict()[variable] - array)
            assert difference <= 5e-3 * np.linalg.norm(array) + 1e-6, variable
    logits = cuda.predict(data[0][0][:2])
    assert logits.shape == (2, CLASSES)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(
        logits, cpu.predict(data[0][0][:2]), rtol=0, atol=40 * ERRORS[precision]
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_guards_find_nothing(name: str) -> None:
    network = NETWORKS[name]()
    how = options(name, device=SimulatedDevice(), debug=True, check_finite=True)
    step = dl.compile(network, BATCH, **how)
    for batch in batches(network):
        assert np.isfinite(step(*batch))


def test_a_slice_of_the_batch_at_a_time() -> None:
    network = NETWORKS["googlenet_shaped"]()
    how = options("googlenet_shaped", device=SimulatedDevice(), slices=2)
    assert_same_bits_in_every_mode(network, batches(network), **how)


@pytest.mark.parametrize("precision", ["float32", pytest.param("bf16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_pass_changes_a_bit(name: str, precision: str) -> None:
    network, how = NETWORKS[name](), options(name, device=SimulatedDevice(), precision=precision)
    data = batches(network)
    expected = train(network, data, "naive", **how)
    for switch in drawn(switches(), 2, list(NETWORKS).index(name)):
        assert train(network, data, "arena", disable_passes=[switch], **how) == expected, switch


POOLS = {
    "2x2, rows and columns left over": (9, 7, dl.MaxPool2d(2), True),
    "4x2, four bits": (8, 7, dl.MaxPool2d((4, 2)), True),
    "1x2": (6, 6, dl.MaxPool2d((1, 2)), True),
    "overlapping": (9, 9, dl.MaxPool2d(3, 2), False),
    "padded": (8, 8, dl.MaxPool2d(2, padding=1), False),
    "windows beyond the end": (7, 7, dl.MaxPool2d(2, ceil_mode=True), False),
}


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("features", [12, 72])
@pytest.mark.parametrize("pool", POOLS)
def test_pools_inside_of_convolutions(pool: str, features: int, precision: str) -> None:
    """Max-pool in the epilogue of forward; its gradient in dgrad, wgrad and the bias gradient."""
    height, width, layer, fuses = POOLS[pool]
    relu = [dl.ReLU()] if height > width else []
    layers = [dl.Conv2d(8, 3, padding=1), dl.ReLU(), dl.Conv2d(features, 3, padding=1)]
    net = dl.Sequential(*layers, layer, *relu, dl.Flatten(), dl.Linear(CLASSES))
    network = as_network(net, (height, width, 3))
    how = {"optimizer": dl.SGD(0.1, 0.9), "device": SimulatedDevice(), "precision": precision}
    found = dl.compile(network, BATCH, **how).plan.graph.ops
    assert fuses == any("maxpool2d_forward" in op.kernel and op.fusion.main for op in found[:3])
    inside = {op.kernel for op in found if "maxpool2d_dgrad+" in op.kernel}
    names = ("conv2d_dgrad+relu_dgrad", "conv2d_wgrad+sgd_momentum", "bias_wgrad")
    assert inside == ({f"maxpool2d_dgrad+{name}" for name in names} if fuses else set())
    data = batches(network)
    for batch in data:
        batch[0][0, :3, :2] = 0  # windows of equal elements
    assert train(network, data, "arena", **how) == train(network, data, "naive", **how)


def images_that_meet() -> dl.Network:
    """A convolution read by an activation and, later in the network, by a projection."""
    x = dl.Input((6, 6, 8))
    y = dl.Conv2d(8, 3, padding=1)(x)
    h = dl.ReLU()(y)
    short, long = dl.Conv2d(8, 1)(y), dl.Conv2d(8, 3, padding=1)(h)
    return dl.Network(x, dl.Linear(CLASSES)(dl.Flatten()(dl.Add()(short, long))))


def vectors_that_meet() -> dl.Network:
    x = dl.Input((8,))
    y = dl.Linear(8)(x)
    h = dl.GELU()(y)
    return dl.Network(x, dl.Linear(CLASSES)(dl.Add()(dl.Linear(8)(y), dl.Linear(8)(h))))


@pytest.mark.parametrize(
    ("build", "precision"), [(images_that_meet, "bf16"), (vectors_that_meet, "float32")]
)
def test_sums_of_gradients_inside_of_data_gradients(
    build: Callable[[], dl.Network], precision: str
) -> None:
    network, how = build(), {"device": SimulatedDevice(), "precision": precision}
    kernels = {op.kernel for op in dl.plan(network, BATCH, device="cuda").graph.ops}
    assert kernels & {"conv2d_dgrad+gradient_sum", "linear_dgrad+gradient_sum"}
    data = batches(network)
    assert train(network, data, "arena", **how) == train(network, data, "naive", **how)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("pool", [None, (1, 2), (2, 2), (16, 1)], ids=str)
def test_first_layers_by_way_of_shared_memory(
    pool: tuple[int, int] | None, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three channels; blocks that hang over the edge; a pool behind, whose windows may not fit
    into a block. The losses of the first step are those of the implicit GEMM, to the bit."""
    layers = [dl.Conv2d(12, 3, padding=1), *([dl.MaxPool2d(pool)] if pool else []), dl.ReLU()]
    net = dl.Sequential(*layers, dl.Flatten(), dl.Linear(CLASSES))
    network = as_network(net, (19, 13, 3))
    how = {"optimizer": dl.SGD(0.1, 0.9), "device": SimulatedDevice(), "precision": precision}
    launches = {
        (op.phase, launch.kernel.count("Staged<"), launch.kernel.count("BlockRows<"))
        for op in dl.compile(network, BATCH, **how).plan.graph.ops
        if op.layer == "0" and "conv2d" in op.kernel
        for launch in launches_of(op)
        if launch.kernel.startswith("Gemm<")
    }
    assert launches == {("forward", *((0, 0) if pool == (16, 1) else (1, 1))), ("wgrad", 1, 0)}
    data = batches(network)
    found = train(network, data, "arena", **how)
    assert found == train(network, data, "naive", **how)
    monkeypatch.setattr(Staging, "of", staticmethod(lambda *_: None))
    assert train(network, data[:1], "naive", **how).losses == found.losses[:1]


def test_what_is_fused() -> None:
    """ReLU behind convolution, batch normalization and max-pool; max-pool behind convolution;
    gradients of both beside dgrad; the update behind wgrad."""
    kernels = {
        op.kernel
        for build in NETWORKS.values()
        for op in dl.plan(build(), BATCH, device="cuda", optimizer=dl.SGD(0.1, 0.9)).graph.ops
    }
    assert kernels >= {
        "conv2d_forward+relu_forward",
        "conv2d_forward+maxpool2d_forward+relu_forward",
        "conv2d_dgrad+relu_dgrad",
        "conv2d_wgrad+sgd_momentum",
        "batchnorm2d_normalize+relu_forward",
        "maxpool2d_forward+relu_forward",
        "linear_forward+relu_forward",
        "linear_dgrad+relu_dgrad",
        "linear_wgrad+sgd_momentum",
    }
