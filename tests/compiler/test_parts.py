"""Packed masks, joined parts, chained sums, fused activations: what they change, and the bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import minidl as dl
from minidl.compiler.lower import lower_training
from minidl.compiler.modes import MODES, switches
from minidl.compiler.rewrites import (
    chain_sums,
    commute_selections,
    fuse_activations,
    join_parts,
    pack_masks,
)
from minidl.devices.known import target_of
from minidl.ir import PlanError, StepGraph, Tensor, part_of
from minidl.layers.base import Node
from minidl.ops.bits import pack, packed_shape, unpack
from minidl.options import Options
from minidl.placed.graph import PlacedGraph, Placement
from minidl.placed.verify import verify
from tests.compiler.random_networks import described, networks, optimizers
from tests.training import random_batches, train

pytestmark = pytest.mark.usefixtures("quick_placement")

QUICK = settings(
    deadline=None,
    derandomize=True,
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def graph_of(network: dl.Network) -> StepGraph:
    options = Options(device="cuda")
    how = 4, options, target_of(options)
    return lower_training(network, dl.CrossEntropy(), dl.SGD(0.1, 0.9), *how)


def kernels(graph: StepGraph, *words: str) -> list[str]:
    return [op.kernel for op in graph.ops if any(word in op.kernel for word in words)]


# -- packed integers -------------------------------------------------------------------------------


@QUICK
@given(st.integers(1, 70), st.sampled_from([1, 2, 4]), st.integers(0, 2**32 - 1))
def test_packing_comes_back(channels: int, bits: int, seed: int) -> None:
    elements = np.random.default_rng(seed).integers(0, 2**bits, (3, 2, channels), np.uint8)
    shape = packed_shape(elements.shape, bits)
    assert shape[-1] == -(-channels * bits // 8)
    packed, back = np.full(shape, 0xFF, np.uint8), np.full(elements.shape, 0xFF, np.uint8)
    pack(packed, elements, bits)
    unpack(packed, channels, bits, back)
    np.testing.assert_array_equal(back, elements)


def pooled(kernel: int | tuple[int, int], channels: int = 5) -> dl.Network:
    x = dl.Input((11, 9, 2))
    y = dl.MaxPool2d(kernel, 2)(dl.ReLU()(dl.Conv2d(channels, 3, padding=1)(x)))
    return dl.Network(x, dl.Linear(3)(dl.Flatten()(y)))


@pytest.mark.parametrize(
    ("kernel", "bits"), [(2, 2), ((1, 3), 2), (3, 4), (4, 4), ((2, 8), 4), (5, 8), ((3, 6), 8)]
)
def test_a_mask_has_the_bits_that_its_window_needs(
    kernel: int | tuple[int, int], bits: int
) -> None:
    net = pooled(kernel)
    graph = pack_masks(graph_of(net))
    forward, dgrad = (op for op in graph.ops if "maxpool" in op.kernel)
    (mask,) = (t for t in forward.writes if t.kind == "mask")
    assert mask in dgrad.reads
    n, h, w, c = forward.writes[0].shape
    assert mask.nbytes == n * h * w * -(-c * bits // 8)
    data = random_batches(np.random.default_rng(0), 4, net.image, 3)
    expected = train(net, data, "naive")
    assert train(net, data, "arena", debug=True) == expected


def test_nan_and_ties_pack_as_they_are() -> None:
    net = pooled(3, 8)
    ((images, labels), *_) = random_batches(np.random.default_rng(0), 4, net.image, 3)
    images[0, :5] = np.nan
    images[1] = 0
    assert train(net, [(images, labels)], "arena") == train(net, [(images, labels)], "naive")


# -- joined parts ----------------------------------------------------------------------------------


def branches() -> dl.Network:
    x = dl.Input((8, 8, 3))

    def unit(y: Node, width: int) -> Node:
        return dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(width, 3, padding=1)(y)))

    y = unit(x, 6)
    y = dl.Concat()(unit(y, 5), unit(unit(y, 4), 3), dl.MaxPool2d(3, 1, 1)(y))
    y = dl.Concat()(y, unit(y, 4))
    return dl.Network(x, dl.Linear(3)(dl.Flatten()(dl.AvgPool2d(2)(y))))


def test_concat_is_no_op() -> None:
    graph = join_parts(graph_of(branches()))
    assert kernels(graph_of(branches()), "concat") == [
        "concat_forward",
        "concat_forward",
        "concat_dgrad",
        "concat_dgrad",
    ]
    assert kernels(graph, "concat_forward", "concat_dgrad") == []
    parts = [t for op in graph.ops for t in op.writes if t.box is not None]
    assert parts
    assert any(not t.contiguous for t in parts)


def test_inputs_and_flat_views_stay_whole() -> None:
    x = dl.Input((4, 4, 3))
    y = dl.Concat()(x, dl.Conv2d(2, 1)(x))
    graph = graph_of(dl.Network(x, dl.Linear(3)(dl.Flatten()(y))))
    assert "concat_forward" in kernels(join_parts(graph), "concat")
    z = dl.Conv2d(2, 1)(x)
    read_flat = dl.Linear(3)(dl.Flatten()(z))
    y = dl.Linear(3)(dl.Flatten()(dl.Concat()(z, dl.Conv2d(2, 1)(z))))
    graph = graph_of(dl.Network(x, dl.Add()(read_flat, y)))
    assert "concat_forward" in kernels(join_parts(graph), "concat")


def test_verify_follows_parts_by_their_elements() -> None:
    """A joined tensor is read before its second part is written: no byte has another owner."""
    plan = dl.plan(branches(), 4, device="cuda", recompute=0)
    ops = list(plan.graph.ops)
    reader = next(
        i for i, op in enumerate(ops) if any(t.whole and t in joined(plan) for t in op.reads)
    )
    whole = next(t for t in ops[reader].reads if t.whole and t in joined(plan))
    writer = max(
        i for i, op in enumerate(ops[:reader]) if any(t.storage is whole for t in op.writes)
    )
    swapped = [*ops[:writer], *ops[writer + 1 : reader + 1], ops[writer], *ops[reader + 1 :]]
    bad = replace(plan, graph=replace(plan.graph, ops=tuple(swapped)))
    with pytest.raises(PlanError):
        verify(bad)


def joined(plan: PlacedGraph) -> set[Tensor]:
    return {t.storage for op in plan.graph.ops for t in op.writes if t.box is not None}


@pytest.mark.parametrize("shift", [4, -4, 256])
def test_verify_finds_a_part_that_lies_elsewhere(shift: int) -> None:
    plan = dl.plan(branches(), 4, device="cuda")
    part = max(
        (t for op in plan.graph.ops for t in op.writes if t.box is not None),
        key=lambda t: t.start,
    )
    place = plan.placements[part]
    moved = Placement(place.offset + shift, place.first, place.last)
    bad = replace(plan, placements={**plan.placements, part: moved})
    with pytest.raises(PlanError):
        verify(bad)


def test_parts_of_parts() -> None:
    whole = Tensor("y", (4, 3, 10), "float32", "activation")
    batch = part_of(whole, 0, 1, 3, "b")
    inner = part_of(batch, 2, 4, 9, "c")
    assert inner.shape == (2, 3, 5)
    assert inner.region == ((1, 3), (0, 3), (4, 9))
    array = np.arange(120, dtype=np.float32).reshape(whole.shape)
    (at,) = np.flatnonzero(array.reshape(-1) == array[1, 0, 4])
    assert inner.start == 4 * at
    assert (whole.contiguous, batch.contiguous, inner.contiguous) == (True, True, False)
    row = part_of(part_of(whole, 0, 1, 2, "r"), 1, 0, 2, "s")
    assert row.contiguous


# -- sums and activations --------------------------------------------------------------------------


def test_a_sum_of_four_is_three_sums_of_two() -> None:
    x = dl.Input((6, 6, 3))
    y = dl.Conv2d(4, 1)(x)
    z = dl.Concat()(*(dl.Conv2d(2, 3, padding=1)(y) for _ in range(4)))
    net = dl.Network(x, dl.Linear(3)(dl.Flatten()(z)))
    before = graph_of(net)
    after = chain_sums(before)
    (whole,) = (op for op in before.ops if op.kernel == "gradient_sum")
    links = [op for op in after.ops if op.kernel == "gradient_sum"]
    assert len(whole.reads) == 4
    assert [len(op.reads) for op in links] == [2, 2, 2]
    assert links[-1].writes == whole.writes
    assert links[0].reads == whole.reads[:2]
    assert sum(op.flops for op in links) == whole.flops
    data = random_batches(np.random.default_rng(0), 4, net.image, 3)
    assert train(net, data, "arena", debug=True) == train(net, data, "naive")


def test_convolution_bias_and_relu_are_one_op() -> None:
    graph = fuse_activations(commute_selections(graph_of(pooled(2))))
    assert kernels(graph, "conv2d_forward", "maxpool2d_forward", "relu_forward") == [
        "conv2d_forward",
        "maxpool2d_forward+relu_forward",
    ]
    graph = fuse_activations(graph_of(branches()))
    assert "batchnorm2d_normalize+relu_forward" in kernels(graph, "relu_forward")
    assert "relu_forward" not in kernels(graph, "relu_forward")


def test_what_another_op_reads_is_not_fused_away() -> None:
    x = dl.Input((6, 6, 3))
    y = dl.Conv2d(4, 1)(x)
    net = dl.Network(x, dl.Linear(3)(dl.Flatten()(dl.Add()(y, dl.ReLU()(y)))))
    assert "relu_forward" in kernels(fuse_activations(graph_of(net)), "relu_forward")


# -- every pass alone, and all but each ------------------------------------------------------------


@QUICK
@given(networks(), optimizers(), st.sampled_from(switches()))
def test_bits_without_one_pass_and_with_it_alone(
    drawn: tuple[dl.Network, int], optimizer: dl.Optimizer, name: str
) -> None:
    network, batch = drawn
    note(f"{name}\n{described(network)}")
    data = random_batches(np.random.default_rng(0), batch, network.image, 3)
    how = {"optimizer": optimizer, "seed": 1}
    expected = train(network, data, "naive", **how)
    others = tuple(other for other in switches() if other != name)
    for without in ((name,), others, tuple(switches())):
        assert train(network, data, "arena", disable_passes=without, **how) == expected, without


def test_every_pass_can_be_left_out() -> None:
    assert switches()[-2:] == ["recompute", "order_for_peak"]
    assert {change.__name__ for change in MODES["arena"].passes} < set(switches())
    with pytest.raises(dl.ArgumentError, match=r"no pass 'fuse'.*fuse_updates"):
        dl.plan(branches(), 4, disable_passes=("fuse",))


def losses_in_place() -> tuple[Callable[[], dl.Optimizer], ...]:
    return dl.SGD, dl.Adam


@pytest.mark.parametrize("optimizer", losses_in_place())
def test_softmax_loss_and_gradient_lie_over_the_logits(
    optimizer: Callable[[], dl.Optimizer],
) -> None:
    plan = dl.plan(branches(), 4, optimizer=optimizer())
    forward, dgrad = (op for op in plan.graph.ops if "softmax" in op.kernel)
    logits, probabilities = forward.reads[0], forward.writes[1]
    (dlogits,) = dgrad.writes
    offsets = {plan.offset(t) for t in (logits, probabilities, dlogits)}
    assert len(offsets) == 1
