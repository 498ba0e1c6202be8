"""The verifier: right plans pass, and every kind of wrong plan is named for what it is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from minidl.ir import PlanError
from minidl.placed.graph import PlacedGraph, Placement
from minidl.placed.verify import verify
from tests.placed.corruptions import (
    CORRUPTIONS,
    Corruption,
    any_change,
    change_op,
    named,
    place,
    retimed,
    swapped,
    with_ops,
    without,
)
from tests.placed.handmade import (
    guarded_step,
    in_arena,
    naive_chain,
    op,
    packed_chain,
    plan_of,
    reference,
    tensor,
    training_step,
    views_step,
)

PLAN_FACTORIES: list[Callable[[], PlacedGraph]] = [
    training_step,
    views_step,
    guarded_step,
    *(lambda seed=seed: naive_chain(seed) for seed in range(4)),
    *(lambda seed=seed: packed_chain(seed) for seed in range(8)),
]
"""Right plans: each must pass, and each corruption below must be caught in it. Add plans here."""

# -- right plans -------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", PLAN_FACTORIES)
def test_right_plans_pass(factory: Callable[[], PlacedGraph]) -> None:
    verify(factory())


@pytest.mark.parametrize("seed", range(60))
def test_random_plans_pass_and_compute_what_the_graph_says(seed: int) -> None:
    for plan in (naive_chain(seed), packed_chain(seed)):
        verify(plan)
        assert in_arena(plan) == reference(plan)


def test_random_plans_reuse_bytes() -> None:
    plans = [packed_chain(seed) for seed in range(20)]
    assert sum(p.arena_bytes for p in plans) < sum(naive_chain(s).arena_bytes for s in range(20))


# -- wrong plans by hand, each with its message ------------------------------------------------


def hand(factory: Callable[[], PlacedGraph], name: str, **change: int) -> PlacedGraph:
    plan = factory()
    return place(plan, named(plan, name), **change)


def reader_remains() -> PlacedGraph:
    """The loss reads y, over which ReLU has written z."""
    plan = training_step()
    y, z = named(plan, "y"), named(plan, "z")
    return change_op(place(plan, y, last=3), 2, reads=(z, y))


def view_reader_remains() -> PlacedGraph:
    plan = views_step()
    y, flat, out = named(plan, "y"), named(plan, "flat"), named(plan, "out")
    return change_op(place(plan, y, last=3), 2, reads=(out, flat))


def partly_in_place() -> PlacedGraph:
    """dy begins in the middle of z."""
    plan = replace(hand(training_step, "dy", offset=80), arena_bytes=160)
    return place(plan, named(plan, "loss"), offset=144)


def grown_in_place() -> PlacedGraph:
    """16 bytes read, 32 written over them."""
    x, y, z = tensor("x", 16, "input"), tensor("y", 16), tensor("z", 32)
    ops = (
        op("first", [y], [x]),
        op("grow", [z], [y], in_place=((0, 0),)),
    )
    return plan_of(ops, {x: (0, 0, 1), y: (16, 0, 2), z: (16, 1, 2)}, [z], 48, 32)


def update_first() -> PlacedGraph:
    """sgd before dgrad, which reads the weights; nothing else is wrong."""
    return retimed(swapped(training_step(), 5, 6))


def momentum_too_late() -> PlacedGraph:
    """A wgrad op adds into the momentum that the update has used."""
    plan = training_step()
    w, v, dw = (named(plan, name) for name in ("w", "v", "dw"))
    ops = list(plan.graph.ops)
    ops[6] = replace(ops[6], writes=(w,))
    ops.append(replace(ops[4], layer="late", writes=(v,), reads=(v, dw)))
    return retimed(with_ops(plan, ops))


def step_before_momentum() -> PlacedGraph:
    """An optimizer of two ops, the second first."""
    plan = training_step()
    w, v, dw = (named(plan, name) for name in ("w", "v", "dw"))
    momentum, step = op("sgd", [v], [v, dw], "update"), op("step", [w], [w, v], "update")
    verify(retimed(with_ops(plan, [*plan.graph.ops[:6], momentum, step])))
    return retimed(with_ops(plan, [*plan.graph.ops[:6], step, momentum]))


def decay_too_late() -> PlacedGraph:
    """The weights' decay goes into the momentum when the weights are new."""
    plan = training_step()
    w, v, dw = (named(plan, name) for name in ("w", "v", "dw"))
    ops = [op("sgd", [w], [w, dw], "update"), op("decay", [v], [v, w], "update")]
    return retimed(with_ops(plan, [*plan.graph.ops[:6], *ops]))


def counted_first() -> PlacedGraph:
    plan = guarded_step()
    drop, total, count = plan.graph.ops
    return with_ops(plan, [replace(count, phase="other"), drop, total])


def counted_before_update() -> PlacedGraph:
    """An update whose size follows from the step counter, after the counter has moved on."""
    plan = guarded_step()
    step, drop, total = named(plan, "step"), *plan.graph.ops[:2]
    count = replace(plan.graph.ops[2], phase="other")
    late = op("adam", [named(plan, "out")], [named(plan, "out"), step], "update")
    return retimed(with_ops(plan, [drop, total, count, late]))


def never_written() -> PlacedGraph:
    plan = training_step()
    other = tensor("other", 16)
    plan = change_op(plan, 1, reads=(*plan.graph.ops[1].reads, other))
    return replace(plan, placements={**plan.placements, other: Placement(112, 1, 2)})


def output_overwritten() -> PlacedGraph:
    plan = training_step()
    return place(plan, named(plan, "s"), offset=96)


def parameter_lost() -> PlacedGraph:
    """Scratch of the last op over the weights."""
    plan = training_step()
    s, loss = named(plan, "s"), named(plan, "loss")
    late = op("late", [s], [loss])
    plan = with_ops(plan, [*plan.graph.ops, late])
    return place(retimed(change_op(plan, 4, writes=(named(plan, "dw"),))), s, offset=0)


def unfilled_input() -> PlacedGraph:
    plan = training_step()
    return replace(plan, graph=replace(plan.graph, inputs=()))


def view_apart() -> PlacedGraph:
    plan = views_step()
    flat = named(plan, "flat")
    return replace(plan, placements={**plan.placements, flat: Placement(48, 0, 2)})


def small_view() -> PlacedGraph:
    plan = views_step()
    flat = tensor("small", 8, view_of=named(plan, "y"))
    plan = change_op(plan, 1, reads=(flat,), in_place=())
    return replace(plan, placements={**plan.placements, flat: Placement(32, 0, 2)})


def written_twice() -> PlacedGraph:
    plan = training_step()
    return change_op(plan, 0, writes=(named(plan, "y"), named(plan, "y")))


WRONG: list[tuple[Callable[[], PlacedGraph], str]] = [
    (lambda: hand(training_step, "x", last=4), r"op 4 'wgrad.kernel' reads .*'x' outside.*\[0, 4"),
    (lambda: hand(training_step, "dz", first=3), r"op 2 'loss.kernel' writes .*'dz' outside"),
    (lambda: hand(training_step, "loss", last=6), r"output .*'loss' must live to the end"),
    (lambda: hand(training_step, "w", last=6), r"'w' is persistent.*\[0, 6\), not \[0, 7"),
    (lambda: hand(training_step, "x", first=1), r"input 'x' is given before op 0.* at 1"),
    (lambda: hand(training_step, "dx", last=8), r"'dx' has lifetime \[5, 8\), no range"),
    (lambda: hand(training_step, "dx", last=5), r"'dx' has lifetime \[5, 5\), no range"),
    (lambda: hand(training_step, "y", offset=72), r"'y' lies at byte 72, not aligned to 16"),
    (lambda: hand(training_step, "s", offset=144), r"'s' covers bytes \[144, 160\).* arena's 144"),
    (lambda: hand(training_step, "s", offset=-16), r"'s' covers bytes \[-16, 0\)"),
    (lambda: hand(training_step, "dz", offset=32), (r"op 4 .* reads input 'x' in "
      r"bytes \[32, 64\), but they hold gradient 'dz', which op 2 'loss.kernel' wrote there$")),
    (lambda: hand(training_step, "dx", offset=0), r"op 5 .*'dx' and .*'w' in bytes \[0, 16"),
    (lambda: hand(training_step, "s", offset=16), r"op 6 .*state 'v' .*scratch 's', which op 4"),
    (lambda: hand(training_step, "x", offset=16), r"state 'v' in bytes|input 'x' in bytes"),
    (lambda: hand(guarded_step, "out", offset=80), r"'y', .*'out', .*\[80, 90\) \(with guards"),
    (lambda: swapped(training_step(), 2, 3), r"op 2 'drelu.kernel' reads .*'dz' in bytes .*no op"),
    (lambda: swapped(views_step(), 2, 3), r"op 2 'add.kernel' reads .*'g' .*no op before"),
    (reader_remains, (r"op 2 'loss.kernel' reads .*'y' in bytes \[64, 96\), but they hold .*'z', "
      r"which op 1 'relu.kernel' wrote there, in place")),
    (view_reader_remains, r"op 2 'begin.kernel' reads .*'flat' .*'out', which op 1 .*in place"),
    (lambda: change_op(training_step(), 1, in_place=()), r"op 1 .* over .* reads.*'z' and .*'y'"),
    (lambda: change_op(training_step(), 1, in_place=((0, 1),)), r"no operands \(0, 1\)"),
    (partly_in_place, r"op 3 .*in place over part.*'dy' and .*'z' .*80 and 64"),
    (grown_in_place, r"op 1 .*in place more than it reads.*32 bytes over 16"),
    (parameter_lost, r"the end of the step needs parameter 'w' .*scratch 's', which op 7 'late"),
    (update_first, r"op 6 'dgrad.kernel' reads parameter 'w' too late: op 5 'sgd.kernel'"),
    (momentum_too_late, r"op 7 'late.kernel' writes state 'v' too late: op 6 'sgd.kernel'"),
    (step_before_momentum, r"op 7 'sgd.kernel' writes state 'v' too late: op 6 'step.kernel'"),
    (decay_too_late, r"op 7 'decay.kernel' reads parameter 'w' too late: op 6 'sgd.kernel'"),
    (counted_first, r"op 1 'drop.kernel' reads state 'step' too late: op 0 'count.kernel'"),
    (counted_before_update, r"op 3 'adam.kernel' reads state 'step' too late: op 2 'count"),
    (never_written, r"op 1 .* reads .*'other' in bytes \[112, 128\), which no op before"),
    (output_overwritten, r"the end of the step needs .*'loss' in bytes \[96, 100\), .*'s', .*op 4"),
    (unfilled_input, r"op 0 'conv.kernel' reads input 'x' .*which no op before has written"),
    (view_apart, r"'flat' at byte 48 with 24 bytes is a view of 'y' at byte 32"),
    (small_view, r"'small' at byte 32 with 8 bytes is a view of 'y' at byte 32 with 24"),
    (written_twice, r"op 0 'conv.kernel' writes .*'y' and .*'y' in bytes"),
    (lambda: replace(training_step(), arena_bytes=143), r"'(dz|s)' covers .* arena's 143"),
    (lambda: replace(guarded_step(), arena_bytes=127), r"127, less than the load of 128"),
    (lambda: replace(training_step(), max_load_bytes=160), r"is 160, but 144 bytes live at op 2"),
    (lambda: replace(training_step(), max_load_bytes=128), r"is 128, but 144 bytes live at op 2"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_what_is_wrong_is_said(wrong: Callable[[], PlacedGraph], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        verify(wrong())


def test_a_missing_placement_is_said() -> None:
    plan = training_step()
    for t in plan.placements:
        with pytest.raises(PlanError, match=f"{t.kind} '{t.name}' has no placement"):
            verify(without(plan, t))


# -- corruptions of any plan -------------------------------------------------------------------


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("factory", PLAN_FACTORIES)
def test_corruptions_are_caught(factory: Callable[[], PlacedGraph], corruption: Corruption) -> None:
    plan = factory()
    for seed in range(5):
        wrong = corruption(plan, random.Random(seed))
        if wrong is not None:
            with pytest.raises(PlanError):
                verify(wrong)


def test_every_corruption_has_a_place_in_some_plan() -> None:
    plans = [factory() for factory in PLAN_FACTORIES]
    for corruption in CORRUPTIONS:
        assert any(corruption(plan, random.Random(0)) for plan in plans), corruption


# -- any single change: what computes something else is caught ---------------------------------


def computes(plan: PlacedGraph, expected: dict[str, bytes]) -> bool:
    try:
        return in_arena(plan) == expected
    except (KeyError, IndexError):
        return False


@pytest.mark.parametrize("seed", range(60))
def test_a_change_that_changes_a_value_is_caught(seed: int) -> None:
    rng = random.Random(seed)
    for plan in (naive_chain(seed), packed_chain(seed)):
        expected = reference(plan)
        for _ in range(40):
            wrong = any_change(plan, rng)
            complete = wrong.placements.keys() == plan.placements.keys()
            if complete and rng.random() < 0.5:
                wrong = retimed(wrong)  # so that lifetimes and load do not give it away
            if not computes(wrong, expected):
                with pytest.raises(PlanError):
                    verify(wrong)


def test_many_random_changes_change_a_value() -> None:
    rng = random.Random(0)
    plan = packed_chain(3)
    expected = reference(plan)
    assert sum(not computes(any_change(plan, rng), expected) for _ in range(200)) > 60
