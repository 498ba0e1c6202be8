"""A plan does what was asked for: changes of variables dropped, repeated or exchanged are seen, and
so is leave to write over what an op reads that no layer has given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

import minidl as dl
from minidl.compiler.lower import lower_training
from minidl.compiler.modes import MODES
from minidl.compiler.planner import make_plan
from minidl.devices.known import target_of
from minidl.ir import Op, PlanError, StepGraph
from minidl.options import Options
from minidl.placed.file import placed_to_dict
from minidl.placed.graph import PlacedGraph, Subject
from minidl.placed.verify import verify
from minidl.placed.verify.asked import check_asked
from minidl.placed.verify.file import check_file
from tests.placed.corruptions import retimed, with_ops

IMAGE = (8, 8, 4)

OPTIMIZERS = {
    "momentum": dl.SGD(0.1, momentum=0.9),
    "adam": dl.Adam(0.01),
    "clipped": dl.SGD(0.1, momentum=0.9),
}
PLANNED = [(memory, name) for memory in MODES for name in OPTIMIZERS]


def network() -> dl.Network:
    x = dl.Input(IMAGE)
    y = dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(4, 3, padding=1)(x)))
    z = dl.MaxPool2d(2)(dl.Add()(dl.ReLU()(dl.Conv2d(4, 3, padding=1)(y)), x))
    return dl.Network(x, dl.Linear(3)(dl.Dropout(0.5)(dl.Flatten()(z))))


@cache
def planned(memory: str, optimizer: str) -> tuple[PlacedGraph, StepGraph]:
    clip = 1.0 if optimizer == "clipped" else None
    options = Options(device="cuda", memory=memory, clip_norm=clip)
    how = dl.CrossEntropy(), OPTIMIZERS[optimizer], 2, options, target_of(options)
    asked = lower_training(network(), *how)
    return make_plan(asked, Subject("small", 2, IMAGE), options), asked


def changing(ops: tuple[Op, ...]) -> Iterator[int]:
    return (i for i, op in enumerate(ops) if any(t.persistent for t in op.writes))


@pytest.mark.parametrize("how", PLANNED)
def test_a_dropped_change_is_seen(how: tuple[str, str]) -> None:
    plan, asked = planned(*how)
    ops = plan.graph.ops
    for i in changing(ops):
        with pytest.raises(PlanError, match="and by no op here"):
            check_asked(replace(plan.graph, ops=ops[:i] + ops[i + 1 :]), asked)


@pytest.mark.parametrize("how", PLANNED)
def test_a_doubled_change_is_seen_in_a_plan_and_in_its_file(how: tuple[str, str]) -> None:
    """Batch norm's statistics, the momentum, the weights, the counters."""
    plan, asked = planned(*how)
    ops = plan.graph.ops
    seen = set()
    for i in changing(ops):
        seen.add(ops[i].parts[-1].function.__name__)
        twice = retimed(with_ops(plan, [*ops[: i + 1], *ops[i:]]))
        with pytest.raises(PlanError, match="2 times, where 1 were asked for"):
            check_asked(twice.graph, asked)
        for check in (verify, lambda p: check_file(placed_to_dict(p))):
            with pytest.raises(PlanError):
                check(twice)
    assert {"batchnorm2d_statistics", "count_step"} < seen


def test_a_doubled_change_is_named() -> None:
    plan, _ = planned("naive", "momentum")
    ops = list(plan.graph.ops)
    i = next(i for i, op in enumerate(ops) if op.kernel == "batchnorm2d_statistics")
    with pytest.raises(
        PlanError, match=r"changes state 'batchnorm2d.*running_mean' as op \d+ has done"
    ):
        verify(retimed(with_ops(plan, [*ops[: i + 1], *ops[i:]])))


@pytest.mark.parametrize("how", PLANNED)
def test_another_update_is_seen(how: tuple[str, str]) -> None:
    """The update of one parameter in the place of another's, as often."""
    plan, asked = planned(*how)
    ops = list(plan.graph.ops)
    updates = [i for i in changing(plan.graph.ops) if ops[i].phase == "update"]
    assert len(updates) > 1
    for i, j in pairwise(updates):
        wrong = [*ops[:i], ops[j], *ops[i + 1 :]]
        with pytest.raises(PlanError, match=r"asked for|by no op here"):
            check_asked(replace(plan.graph, ops=tuple(wrong)), asked)


@pytest.mark.parametrize("how", PLANNED)
def test_leave_that_no_layer_gave_is_seen(how: tuple[str, str]) -> None:
    """A pair of operands of one size that an op does not list: a convolution over its image."""
    plan, asked = planned(*how)
    ops = plan.graph.ops
    seen = set()
    for i, op in enumerate(ops):
        for k, w in enumerate(op.writes):
            for j, r in enumerate(op.reads):
                if w is r or (k, j) in op.in_place or w.nbytes > r.nbytes or op.kernel in OWN:
                    continue
                seen.add(op.kernel.split("+")[0])
                wrong = replace(op, in_place=(*op.in_place, (k, j)))
                with pytest.raises(PlanError, match="given no leave"):
                    check_asked(replace(plan.graph, ops=(*ops[:i], wrong, *ops[i + 1 :])), asked)
    assert {"conv2d_forward", "conv2d_dgrad", "linear_dgrad", "maxpool2d_forward"} <= seen


OWN = {"pack_signs", "keep_positive"}
"""What the rewrites put in themselves, for which they answer."""


def test_every_plan_is_compared_with_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass that loses an op does not get through."""

    def lose(graph: StepGraph) -> StepGraph:
        kept = [op for op in graph.ops if "sgd" not in op.kernel]
        return replace(graph, ops=tuple(kept))

    mode = MODES["arena"]
    monkeypatch.setitem(MODES, "arena", replace(mode, passes=(*mode.passes, lose)))
    with pytest.raises(PlanError, match="is changed by sgd"):
        dl.plan(network(), 2, optimizer=dl.SGD(0.1))


def test_a_layer_at_two_places_changes_its_statistics_twice() -> None:
    """As in PyTorch: the verifier knows the one from the other by what is read."""
    x, norm = dl.Input(IMAGE), dl.BatchNorm2d()
    y = norm(dl.Conv2d(4, 1)(norm(x)))
    network = dl.Network(x, dl.Linear(3)(dl.Flatten()(y)))
    for memory in MODES:
        ops = dl.plan(network, 2, memory=memory).graph.ops
        assert sum(op.kernel == "batchnorm2d_statistics" for op in ops) == 2
