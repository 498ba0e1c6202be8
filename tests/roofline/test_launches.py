"""What launches ask for, by hand; and the time of whole steps on every card."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

import minidl as dl
from minidl import models
from minidl.cards import CARDS, DEFAULT
from minidl.ir import ArgumentError, Op
from minidl.ir.card import Card
from minidl.ops.cuda import launches_of
from minidl.ops.cuda.work import works_of
from minidl.roofline import BOUNDS, CONSTANTS, Reread, Work, read_counts

MOMENTUM = dl.SGD(lr=0.1, momentum=0.9)


def network(*layers: Any, image: Any = (32, 32, 64)) -> dl.Sequential:
    return dl.Sequential(dl.Input(image), *layers)


def planned(net: dl.Sequential, batch: int, **how: Any) -> dl.Plan:
    how = {"precision": "bf16", "gpu": "h100", "optimizer": MOMENTUM, **how}
    return dl.plan(net, batch, **how)


def works(plan: dl.Plan, kernel: str, layer: str = "") -> list[Work]:
    """Of the launches of the first op of that kernel."""
    op = next(op for op in plan.graph.ops if op.kernel == kernel and layer in ("", op.layer))
    return works_of(op, launches_of(op), DEFAULT, read_counts())


@pytest.fixture(scope="module")
def convolved() -> dl.Plan:
    """Batch 64, 32 x 32 pixels, 64 channels to 128: 65,536 pixels."""
    convolution = dl.Conv2d(128, 3, padding=1, bias=False)
    first = dl.Conv2d(64, 1, bias=False)
    return planned(network(first, dl.ReLU(), convolution, dl.Flatten(), dl.Linear(10)), 64)


PIXELS, X, Y = 65_536, 65_536 * 64 * 2, 65_536 * 128 * 2


def test_a_forward_product(convolved: dl.Plan) -> None:
    """512 x 1 tiles of 128 x 128, 18 stages of 9 x 64 / 32: x, weights and y once. Behind them a
    thread of 256 has 64 results: 32 fragments of 2, then 8 vectors of 8 in bf16, whose 64 KB a
    block writes to shared memory and reads again in wavefronts of 128 bytes."""
    op = next(o for o in convolved.graph.ops if (o.layer, o.kernel) == ("2", "conv2d_forward"))
    (launch,) = launches_of(op)
    loop = launch.loop
    assert loop is not None
    (work,) = works(convolved, "conv2d_forward", "2")
    weights = 128 * 9 * 64 * 4
    assert (work.blocks, work.threads, work.moved) == (512, 256, X + weights + Y)
    count = read_counts().of(loop.main, DEFAULT.architecture, launch.kernel)
    assert (work.shared, work.registers) == (launch.shared, count.registers)
    assert work.stages is not None
    assert work.epilogue is not None
    assert work.reread is not None
    assert (work.stages.count, work.stages.copied) == (18, 8192 + 16384)
    assert work.stages.operations == 2 * 128 * 128 * 32
    assert (work.epilogue.rounds, work.epilogue.wavefronts) == (0, 2 * 64 * 1024 / 128)
    assert work.epilogue.instructions == 32 * 12 + 8 * (14 + 8 * 4)
    assert work.reread == Reread(X, 1, 512, 1, kept=X), "one column of tiles: nothing is read again"


def test_a_data_gradient_with_a_relu_behind_it(convolved: dl.Plan) -> None:
    """It reads y of the ReLU, or its signs: of some rows together. A thread of 256 has 32
    results of a tile of 128 x 64: 16 fragments, then 4 vectors of 8."""
    (work,) = works(convolved, "conv2d_dgrad+relu_dgrad", "2")
    assert work.epilogue is not None
    assert work.epilogue.rounds == 2, "half of 32 sums are held: 2 vectors a turn"
    assert work.epilogue.instructions == 16 * 12 + 4 * (14 + 8 * (4 + 5))
    weights = 128 * 9 * 64 * 4
    assert work.moved == Y + weights + X + X


def test_a_split_weight_gradient(convolved: dl.Plan) -> None:
    """Partial sums are written and read once more; what the update reads comes after them."""
    op = next(op for op in convolved.graph.ops if op.layer == "2" and "conv2d_wgrad" in op.kernel)
    first, last = works_of(op, launches_of(op), DEFAULT, read_counts())
    loop = launches_of(op)[0].loop
    assert loop is not None
    assert loop.product.splits > 1
    partial = loop.product.splits * 128 * 9 * 64 * 4
    weights = 128 * 9 * 64 * 4
    assert first.moved == pytest.approx(X + Y + partial)
    assert last.moved == pytest.approx(partial + 3 * weights), "v read and written, w read"
    assert first.epilogue is not None
    assert first.epilogue.rounds == 0
    assert last.stages is None


def test_phases_of_a_strided_data_gradient_move_dy_once() -> None:
    layers = dl.Conv2d(64, 1), dl.ReLU(), dl.Conv2d(64, 3, stride=2, padding=1), dl.Flatten()
    plan = planned(network(*layers, dl.Linear(10)), 8)
    op = next(op for op in plan.graph.ops if op.layer == "2" and "conv2d_dgrad" in op.kernel)
    phases = works_of(op, launches_of(op), DEFAULT, read_counts())
    assert len(phases) == 4
    assert sum(work.moved for work in phases) == pytest.approx(op.bytes_moved)
    loops = [launch.loop for launch in launches_of(op)]
    assert all(loop is not None and loop.divides for loop in loops)


def test_bands_read_weights_again() -> None:
    """64 x 56 x 56 pixels of 64 channels to 256: 1,568 x 2 tiles. An RTX 3060 does not keep 25.7 MB
    of x from one column to the next, so bands of 8: the 64 KB of weights are read once, as the L2
    keeps them beside 131 KB of a band. On an H100 x stays there."""
    layers = dl.Conv2d(64, 1, bias=False), dl.Conv2d(256, 1, bias=False), dl.Flatten()
    net = network(*layers, dl.Linear(10), image=(56, 56, 64))
    x, weights = 64 * 56 * 56 * 64 * 2, 256 * 64 * 4
    (work,) = works(planned(net, 64, gpu="rtx3060"), "conv2d_forward", "1")
    assert work.reread == Reread(weights, 1, 8 * 2, 196, kept=weights + x // 196)
    (work,) = works(planned(net, 64), "conv2d_forward", "1")
    assert work.reread == Reread(x, 1, 1568, 2, kept=x)


BATCH_NORM = network(dl.Conv2d(64, 1), dl.BatchNorm2d(), dl.Flatten(), dl.Linear(10))
ACCESSES = {
    ("bf16", "batchnorm2d_normalize"): [8],
    ("bf16", "batchnorm2d_dgrad"): [8],
    ("bf16", "batchnorm2d_statistics"): [2, 4],
    ("bf16", "batchnorm2d_wgrad"): [2, 4],
    ("float32", "batchnorm2d_normalize"): [16],
    ("float32", "batchnorm2d_statistics"): [4, 4],
}
"""Bytes that a thread reads at once, launch by launch."""


@pytest.mark.parametrize(("precision", "kernel"), ACCESSES)
def test_bytes_at_once(precision: str, kernel: str) -> None:
    plan = planned(BATCH_NORM, 16, precision=precision)
    assert [work.access for work in works(plan, kernel)] == ACCESSES[precision, kernel]


# -- steps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_no_op_is_faster_than_its_roofline(card: Card) -> None:
    """Of a small network with many kinds of layers, in a precision that is drawn anew."""
    layers = dl.Conv2d(16, 3, padding=1), dl.BatchNorm2d(), dl.ReLU(), dl.MaxPool2d(2)
    more = dl.Conv2d(32, 3, stride=2), dl.LocalResponseNorm(5), dl.Dropout(), dl.Flatten()
    net = network(*layers, *more, dl.Linear(10), image=(16, 16, 3))
    precision = random.choice(("float32", "tf32", "bf16"))
    time = planned(net, 8, precision=precision, gpu=card.name).time()
    assert time.card == card
    assert time.seconds == pytest.approx(sum(op.seconds for op in time.ops))
    for op in time.ops:
        assert op.seconds >= op.launches * card.launch
        assert op.seconds > op.roofline, (precision, op)
        assert op.bound in BOUNDS


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("card", ["rtx3060", "rtx4090", "a100", "h100"])
def test_no_op_of_alexnet_is_faster_than_its_roofline(card: str, precision: str) -> None:
    time = planned(models.alexnet(), 128, precision=precision, gpu=card).time()
    assert all(op.seconds > op.roofline for op in time.ops)
    assert 1 < time.seconds / time.roofline < 5


def test_the_step_in_words_and_as_data(convolved: dl.Plan) -> None:
    time = convolved.time()
    lines = str(time).splitlines()
    assert "predicted and not measured" in lines[0]
    assert f"{1e3 * time.seconds:.3g} ms a step on h100" in lines[0]
    longest = time.longest()
    assert [op.seconds for op in longest] == sorted(op.seconds for op in time.ops)[:-11:-1]
    assert [line.split()[-1] for line in lines[3 : 3 + len(longest)]] == [o.name for o in longest]
    assert lines[-1] == "assumed of this card: launch; see docs/roofline.md"
    assert sum(time.bounds().values()) == pytest.approx(time.seconds)
    data = json.loads(convolved.to_json(time=time))["time"]
    assert data["predicted_seconds"] == pytest.approx(time.seconds)
    assert [op["index"] for op in data["ops"]] == list(range(len(convolved.graph.ops)))
    assert "time" not in convolved.to_dict()


def test_a_plan_for_the_cpu_has_no_time() -> None:
    plan = dl.plan(network(dl.Flatten(), dl.Linear(2)), 2)
    with pytest.raises(ArgumentError, match=r"this plan is for the cpu.*--gpu rtx3060"):
        plan.time()


def test_times_are_those_of_the_launches(convolved: dl.Plan) -> None:
    """Nothing but bytes: 850 KB at 85 % of the bandwidth take what 1 MB takes at all of it."""
    op: Op = next(op for op in convolved.graph.ops if op.kernel == "linear_forward")
    (row,) = (row for row in convolved.time().ops if row.name == op.name)
    assert row.launches == len(launches_of(op))
    assert row.roofline == pytest.approx(op.bytes_moved / DEFAULT.bandwidth)
    assert row.seconds > row.launches * DEFAULT.launch + row.roofline / CONSTANTS.share_of_16
