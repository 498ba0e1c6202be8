"""Batch slicing: the same bits in every mode at one number of slices; what may be sliced."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.compiler.lower import lower_training
from minidl.devices.known import target_of
from minidl.ir import Op
from minidl.options import Options
from tests.training import OTHER_MODES, assert_same_bits_in_every_mode, random_batches, train

pytestmark = pytest.mark.usefixtures("quick_placement")


def plain() -> dl.Network:
    """Convolutions and pools, larger first, then a Linear."""
    x = y = dl.Input((16, 16, 3))
    for features in (8, 8, 12):
        y = dl.ReLU()(dl.Conv2d(features, 3, padding=1)(y))
        y = dl.MaxPool2d(2)(y)
    return dl.Network(x, dl.Linear(4)(dl.Flatten()(y)))


def normalized() -> dl.Network:
    x = dl.Input((12, 12, 3))
    y = dl.MaxPool2d(2)(dl.ReLU()(dl.Conv2d(8, 3, padding=1)(x)))
    y = dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(8, 3, padding=1)(y)))
    return dl.Network(x, dl.Linear(4)(dl.Flatten()(y)))


@pytest.mark.parametrize("network", [plain, normalized])
@pytest.mark.parametrize("slices", [2, 3, 5])
def test_every_mode_has_the_same_bits(network: type[dl.Network], slices: int) -> None:
    net = network()
    data = random_batches(np.random.default_rng(slices), 5, net.image, 4, count=3)
    how = {"optimizer": dl.SGD(0.05, 0.9, weight_decay=5e-4), "slices": slices, "debug": True}
    expected = assert_same_bits_in_every_mode(net, data, **how)
    for recompute in (0.0, 0.2):
        assert train(net, data, "arena", recompute=recompute, **how) == expected
    assert len(OTHER_MODES) >= 4


def test_slices_compute_what_the_whole_batch_does() -> None:
    net = plain()
    data = random_batches(np.random.default_rng(1), 6, net.image, 4, count=4)
    losses = [
        [float.fromhex(x) for x in train(net, data, "arena", slices=s, precision="float64").losses]
        for s in (1, 3)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)


def ops_of(network: dl.Network, slices: int, batch: int = 6) -> list[Op]:
    options = Options(device="cuda", slices=slices)
    how = dl.CrossEntropy(), dl.SGD(0.1, 0.9), batch, options, target_of(options)
    return list(lower_training(network, *how).ops)


def test_weight_gradients_are_summed_from_the_last_slice_to_the_first() -> None:
    sums = [op for op in ops_of(plain(), 3) if op.kernel == "gradient_sum" and op.phase == "wgrad"]
    assert sums
    wgrads = [op for op in ops_of(plain(), 3) if op.kernel == "conv2d_wgrad"]
    slices = [op.reads[1].name.partition("[")[2] for op in wgrads if op.layer == "conv2d1"]
    assert slices == ["4:6]", "2:4]", "0:2]"]


def test_no_slice_goes_beyond_batchnorm() -> None:
    ops = ops_of(normalized(), 2)
    count = {kernel: sum(op.kernel == kernel for op in ops) for kernel in map(kernel_of, ops)}
    assert count["maxpool2d_forward"] == 2
    assert count["batchnorm2d_statistics"] == 1
    assert all(op.writes[0].shape[0] == 6 for op in ops if op.kernel == "batchnorm2d_normalize")


def kernel_of(op: Op) -> str:
    return op.kernel


@pytest.mark.parametrize(("device", "recompute"), [("cpu", 0.01), ("cuda", 0.1)])
def test_transients_shrink(device: str, recompute: float) -> None:
    """VGG-16: with some recomputation the sliced first layers no longer make the peak. On CUDA
    their largest transients have no bytes in any case: it takes more to see a difference."""
    how = {"device": device, "recompute": recompute}
    whole = dl.plan(dl.models.vgg16(), 64, **how)  # type: ignore[arg-type]
    sliced = dl.plan(dl.models.vgg16(), 64, slices=4, **how)  # type: ignore[arg-type]
    assert sliced.arena_bytes < 0.95 * whole.arena_bytes


@pytest.mark.parametrize("slices", [0, -1, 9])
def test_bad_numbers_of_slices(slices: int) -> None:
    with pytest.raises(dl.ArgumentError, match=r"slices must be in \[1, 8\]"):
        dl.plan(plain(), 8, slices=slices)


def residual(image: tuple[int, int, int] = (8, 8, 3)) -> dl.Network:
    """The first layer could be sliced; what is added to it is the input itself."""
    x = dl.Input(image)
    y = dl.BatchNorm2d()(dl.Conv2d(3, 1)(x))
    return dl.Network(x, dl.Linear(4)(dl.Flatten()(dl.Add()(x, y))))


def beginning_with(layer: dl.Layer) -> dl.Sequential:
    return dl.Sequential(dl.Input((8, 8, 3)), layer, dl.Flatten(), dl.Linear(4))


@pytest.mark.parametrize(
    ("net", "cause"),
    [
        (beginning_with(dl.BatchNorm2d()), r"the first layer, 0, BatchNorm2d\(.*the whole batch: "),
        (
            beginning_with(dl.Dropout()),
            r"the first layer, 0, Dropout\(.*\), needs the whole batch: ",
        ),
        (residual(), r"batchnorm2d1, BatchNorm2d\(.* whole batch, and the layers .* no one tensor"),
    ],
    ids=["normalised", "dropped", "residual"],
)
def test_a_network_that_cannot_be_sliced(net: dl.Network, cause: str) -> None:
    with pytest.raises(dl.ArgumentError, match=cause):
        dl.plan(net, 8, slices=2)


def test_passes_leave_forward_ops_in_the_order_of_the_slices() -> None:
    """Ops with an activation in their epilogue are no updates: nothing hoists them."""
    plan = dl.plan(plain(), 6, slices=3, device="cuda")
    forward = [op for op in plan.graph.ops if op.phase == "forward"]
    slices = [op.reads[0].name.partition("[")[2] for op in forward]
    sliced = [name for name in slices if name]
    assert sliced == sorted(sliced)
    assert len(set(sliced)) == 3
