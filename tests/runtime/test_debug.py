"""debug=True: an op that leaves its bytes, or a plan that lets bytes die too early, is caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.compiler.modes import MODES
from minidl.ir import Array, NotFiniteError, PlanError, Tensor
from minidl.layers import activation, linear
from minidl.ops.optim import sgd_step
from minidl.placed.graph import PlacedGraph, Placement
from minidl.runtime.arena import Arena
from minidl.runtime.debug import first_not_finite
from minidl.runtime.program import Program
from tests.training import random_batches, state_bits

BATCH, IMAGE, CLASSES = 3, (6, 6, 2), 4


def network() -> dl.Network:
    layers = dl.Sequential(
        dl.Conv2d(5, 3, padding=1),
        dl.Tanh(),
        dl.AvgPool2d(2),
        dl.Flatten(),
        dl.Linear(7),
        dl.Tanh(),
        dl.Linear(CLASSES),
    )
    x = dl.Input(IMAGE)
    return dl.Network(x, layers(x, name=""))


def batch() -> tuple[Array, Array]:
    (drawn,) = random_batches(np.random.default_rng(3), BATCH, IMAGE, CLASSES, count=1)
    return drawn


def behind(array: Array) -> Array:
    """The element behind an array's end."""
    return np.lib.stride_tricks.as_strided(array.reshape(-1)[-1:], (2,))[1:]


def writing_behind(function: Callable[..., None]) -> Callable[..., None]:
    def wrong(first: Array, *others: Array, **attributes: Any) -> None:
        function(first, *others, **attributes)
        behind(first)[...] = 1

    wrong.__name__ = function.__name__
    return wrong


FAULTS: list[tuple[object, str, str]] = [
    (linear, "linear_forward", "linear_forward wrote behind the end of 4.y"),
    (linear, "linear_dgrad", "linear_dgrad wrote behind the end of d:"),
    (activation, "tanh_forward", "tanh_forward wrote behind the end of 1.y"),
    (activation, "tanh_dgrad", "tanh_dgrad wrote behind the end of d:"),
]


@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize(("module", "name", "message"), FAULTS)
def test_writing_behind_the_end_is_caught(
    module: object, name: str, message: str, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, writing_behind(getattr(module, name)))
    step = dl.compile(network(), BATCH, memory=memory, debug=True)
    with pytest.raises(PlanError, match=message):
        step(*batch())


def test_writing_behind_a_parameter_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl.optim.sgd_step", writing_behind(sgd_step))
    step = dl.compile(network(), BATCH, optimizer=dl.SGD(0.1, 0.9), memory="naive", debug=True)
    with pytest.raises(PlanError, match=r"sgd_step wrote behind the end of \d\.(weight|bias)"):
        step(*batch())


def test_predict_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "linear_forward", writing_behind(linear.linear_forward))
    step = dl.compile(network(), BATCH, debug=True)
    with pytest.raises(PlanError, match=r"4\.linear_forward wrote behind the end of 4\.y"):
        step.predict(batch()[0])


def test_leaving_bytes_unwritten_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_but_the_last(y: Array, *others: Array) -> None:
        kept = y[-1, -1].copy()
        right(y, *others)
        y[-1, -1] = kept

    right = linear.linear_forward
    monkeypatch.setattr(linear, "linear_forward", all_but_the_last)
    step = dl.compile(network(), BATCH, debug=True, check_finite=True)
    with pytest.raises(
        NotFiniteError, match=r"step 1: op \d+ 4\.all_but_the_last wrote nan to 4\.y"
    ):
        step(*batch())


# -- plans that are wrong --------------------------------------------------------------------------


def short_lives(plan: PlacedGraph) -> Iterator[tuple[Tensor, PlacedGraph]]:
    """The plan with one tensor's bytes given up before its last reader has run."""
    for t, place in plan.placements.items():
        passing = t.kind in ("activation", "gradient") and t.view_of is None
        readers = [i for i, op in enumerate(plan.graph.ops) if t in {r.storage for r in op.reads}]
        writers = [i for i, op in enumerate(plan.graph.ops) if t in {w.storage for w in op.writes}]
        between = [i for i in readers[:-1] if i > writers[-1]] if writers and readers else []
        if passing and between and place.last == readers[-1] + 1 and between[-1] < readers[-1]:
            short = Placement(place.offset, place.first, readers[-1])
            yield t, replace(plan, placements={**plan.placements, t: short})


def test_reading_a_dead_tensor_is_caught() -> None:
    """The verifier refuses such a plan; here it runs all the same."""
    step = dl.compile(network(), BATCH, memory="liveness", debug=True)
    images, labels = batch()
    tried = 0
    for t, wrong in short_lives(step.plan):
        program = Program(wrong, Arena(wrong.arena_bytes, 256), debug=True)
        for variable in wrong.graph.variables:
            program.arrays[variable.tensor][...] = step.array(variable.name)
        for tensor, array in zip(wrong.graph.inputs, (images, labels), strict=True):
            program.arrays[tensor][...] = array
        with pytest.raises(NotFiniteError, match="wrote nan to"):
            program.run(program.require_finite)
        tried += 1
        assert not t.given
    assert tried >= 3


def test_an_op_that_reads_what_it_was_not_given_is_caught() -> None:
    """Every op in turn adds in a tensor that is dead by then and whose bytes nobody has taken."""
    images, labels = batch()
    tried = 0
    for i, op in enumerate(dl.plan(network(), BATCH, memory="liveness").graph.ops):
        step = dl.compile(network(), BATCH, memory="liveness", debug=True, check_finite=True)
        dead = next(dead_at(step.plan, i), None)
        if dead is None or op.writes[0].dtype != "float32" or op.writes[0].persistent:
            continue
        launches, arrays = step._program.calls, step._program.arrays
        written, stale = arrays[step.plan.graph.ops[i].writes[0]], arrays[dead]
        right = launches[i]

        def wrong(
            right: Callable[[], None] = right, written: Array = written, stale: Array = stale
        ) -> None:
            right()
            written += stale.reshape(-1)[0]

        launches[i] = wrong
        with pytest.raises(NotFiniteError, match=rf"step 1: op {i} .* wrote nan"):
            step(images, labels)
        tried += 1
    assert tried >= 5


def dead_at(plan: PlacedGraph, i: int) -> Iterator[Tensor]:
    """Float tensors that lived before op i and whose bytes are free since."""
    for t, place in plan.placements.items():
        if t.dtype == "float32" and not t.given and t.view_of is None and place.last <= i:
            end = place.offset + t.nbytes
            later = (
                u for u, p in plan.placements.items()
                if p.last > place.last and p.first <= i and u.storage is not t
                and p.offset < end and place.offset < p.offset + u.nbytes + plan.guard
            )  # fmt: skip
            if t.kind != "scratch" and next(later, None) is None:
                yield t


def test_debug_changes_no_bit() -> None:
    images, labels = batch()
    for memory in MODES:
        plain, watched = (
            dl.compile(network(), BATCH, memory=memory, debug=debug) for debug in (False, True)
        )
        for _ in range(3):
            assert plain(images, labels) == watched(images, labels)
        assert state_bits(plain) == state_bits(watched)


# -- finding what is not finite --------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 5, 32767, 32768, 69_999])
def test_the_first_value_that_is_not_finite(value: float, where: int) -> None:
    array = np.zeros(70_000, np.float32)
    array[where] = array[-1] = value
    assert first_not_finite(array.reshape(70, 1000)) == where


def test_finite_values_and_integers_pass() -> None:
    assert first_not_finite(np.full((3, 4), np.finfo(np.float32).max)) is None
    assert first_not_finite(np.arange(9)) is None
    assert first_not_finite(np.zeros((0, 3))) is None
