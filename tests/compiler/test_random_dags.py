"""Random DAGs of every layer: each mode compiles, is proved twice and trains to the same bits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import minidl as dl
from minidl.compiler.modes import MODES
from minidl.placed.file import placed_to_dict
from minidl.placed.verify.file import check_file
from tests.compiler.random_networks import CLASSES, described, networks, optimizers
from tests.training import OTHER_MODES, random_batches, train

pytestmark = pytest.mark.usefixtures("quick_placement")

COMMON = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MANY, FEW = settings(COMMON, max_examples=60, derandomize=False), settings(COMMON, max_examples=12)

LOSSES = st.sampled_from([dl.CrossEntropy(), dl.CrossEntropy(label_smoothing=0.1), dl.MSE()])


DRAWN = given(networks(), optimizers(), LOSSES, st.sampled_from(["float32", "float64"]))


@FEW
@DRAWN
def test_every_mode_trains_to_the_bits_of_naive(
    drawn: tuple[dl.Network, int], optimizer: dl.Optimizer, loss: dl.Loss, precision: str
) -> None:
    assert_every_mode_trains_to_the_bits_of_naive(drawn, optimizer, loss, precision)


@pytest.mark.slow
@MANY
@DRAWN
def test_many_networks_train_to_the_bits_of_naive(
    drawn: tuple[dl.Network, int], optimizer: dl.Optimizer, loss: dl.Loss, precision: str
) -> None:
    assert_every_mode_trains_to_the_bits_of_naive(drawn, optimizer, loss, precision)


def assert_every_mode_trains_to_the_bits_of_naive(
    drawn: tuple[dl.Network, int], optimizer: dl.Optimizer, loss: dl.Loss, precision: str
) -> None:
    network, batch = drawn
    note(described(network))
    data = random_batches(np.random.default_rng(0), batch, network.image, CLASSES)
    if isinstance(loss, dl.MSE):
        data = [(x, x.reshape(batch, -1)[:, :CLASSES]) for x, _ in data]
    how = {"optimizer": optimizer, "loss": loss, "precision": precision}
    expected = train(network, data, "naive", **how)
    for memory in OTHER_MODES:
        assert train(network, data, memory, **how) == expected, memory
    assert train(network, data, "arena", debug=True, check_finite=True, **how) == expected


@FEW
@given(networks(), optimizers(), st.sampled_from(["cpu", "cuda"]), st.sampled_from([16, 256, 1024]))
def test_every_plan_file_is_right(
    drawn: tuple[dl.Network, int], optimizer: dl.Optimizer, device: str, alignment: int
) -> None:
    network, batch = drawn
    note(described(network))
    how = {"optimizer": optimizer, "device": device, "alignment": alignment}
    for memory in MODES:
        plan = dl.plan(network, batch, memory=memory, **how)
        check_file(json.loads(json.dumps(placed_to_dict(plan))))
        assert plan.order_lower_bound_bytes <= plan.max_load_bytes <= plan.arena_bytes
        assert plan.arena_bytes % alignment == 0


@FEW
@given(networks(), optimizers())
def test_each_idea_saves_bytes(drawn: tuple[dl.Network, int], optimizer: dl.Optimizer) -> None:
    network, batch = drawn
    note(described(network))
    modes = dl.plan(network, batch, optimizer=optimizer, device="cuda", alignment=16).modes
    assert modes["arena"] <= modes["liveness"] <= modes["naive"]
    assert modes["fujitsu2016"] <= modes["caffe"] <= modes["naive"]
