"""Clipping and accumulation against their formulas in float64; every mode to the same bits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.compiler.modes import MODES
from minidl.ir import Array, format_size
from tests.drawn import drawn
from tests.test_optim import OUTPUTS, RULES, SAMPLES, gradients, regression
from tests.train.small import BATCH, CLASSES, IMAGE, network
from tests.training import (
    OTHER_MODES,
    assert_same_bits_in_every_mode,
    random_batches,
    state_bits,
    train,
)

HOW: dict[str, dict[str, Any]] = {
    "clip": {"clip_norm": 0.4},
    "accumulate": {"accumulate": 3},
    "both": {"clip_norm": 0.4, "accumulate": 2},
}
CALLS = 6

OPTIMIZERS = {
    "sgd": dl.SGD(0.05, weight_decay=0.01),
    "momentum": dl.SGD(0.05, 0.9, weight_decay=5e-4),
    "nesterov": dl.SGD(0.05, 0.9, weight_decay=5e-4, nesterov=True),
    "adam": dl.Adam(0.01, weight_decay=0.01),
    "adamw": dl.AdamW(0.01),
}


def clipped(parts: list[Array], clip_norm: float | None) -> tuple[list[Array], float]:
    """The gradients as PyTorch's clip_grad_norm_ leaves them, and their norm before."""
    norm = float(np.sqrt(sum((g**2).sum() for g in parts)))
    factor = 1.0 if clip_norm is None else min(1.0, clip_norm / (norm + 1e-6))
    return [g * factor for g in parts], norm


def by_formula(
    name: str, w: Array, b: Array, batches: list[tuple[Array, Array]], **how: Any
) -> Iterator[tuple[Array, Array, float]]:
    """Weights, bias and the last norm after each call, of one Linear with a mean squared error."""
    _, after = RULES[name]
    first, seen, waiting, norm = (w, b), [], [], 0.0
    for x, target in batches:
        waiting.append(gradients(x, target, w, b))
        if len(waiting) == how.get("accumulate", 1):
            mean = [np.mean(np.stack(g), axis=0) for g in zip(*waiting, strict=True)]
            parts, norm = clipped(mean, how.get("clip_norm"))
            seen.append(parts)
            waiting = []
            w, b = (after(a, list(g)) for a, g in zip(first, zip(*seen, strict=True), strict=True))
        yield w, b, norm


@pytest.mark.parametrize("memory", ["naive", "arena"])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", RULES)
def test_updates_by_formula(name: str, how: str, memory: str) -> None:
    net, x, target = regression()
    settings = {"loss": dl.MSE(), "precision": "float64", "memory": memory}
    step = dl.compile(net, SAMPLES, optimizer=RULES[name][0], **settings, **HOW[how])
    generator = np.random.default_rng(1)
    batches = [(x + generator.normal(size=x.shape), target) for _ in range(CALLS)]
    start = step.array("fc.weight").copy(), step.array("fc.bias").copy()
    for batch, (w, b, norm) in zip(
        batches, by_formula(name, *start, batches, **HOW[how]), strict=True
    ):
        step(*batch)
        np.testing.assert_allclose(step.array("fc.weight"), w, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(step.array("fc.bias"), b, rtol=1e-11, atol=1e-13)
        if "clip_norm" in HOW[how]:
            assert step.gradient_norm == pytest.approx(norm, rel=1e-12)


def chain() -> dl.Network:
    """Nothing in it couples samples."""
    x = dl.Input((8, 8, 3))
    y = dl.MaxPool2d(2)(dl.ReLU()(dl.Conv2d(6, 3, padding=1)(x)))
    y = dl.ReLU()(dl.Linear(130)(dl.Flatten()(y)))
    return dl.Network(x, dl.Linear(CLASSES)(y))


@pytest.mark.parametrize("clip_norm", [None, 0.3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_k_calls_are_one_step_on_a_batch_k_times_as_large(
    name: str, clip_norm: float | None
) -> None:
    k, batch = 3, 4
    large = random_batches(np.random.default_rng(2), k * batch, (8, 8, 3), CLASSES)
    how = {"optimizer": OPTIMIZERS[name], "clip_norm": clip_norm, "precision": "float64"}
    one = dl.compile(chain(), k * batch, **how)
    several = dl.compile(chain(), batch, accumulate=k, **how)
    for images, labels in large:
        loss = one(images, labels)
        cuts = range(0, k * batch, batch)
        losses = [several(images[i : i + batch], labels[i : i + batch]) for i in cuts]
        assert np.mean(losses) == pytest.approx(loss, rel=1e-10)
    for variable, array in one.state_dict().items():
        np.testing.assert_allclose(several.state_dict()[variable], array, rtol=1e-7, atol=1e-9)


# -- memory modes ----------------------------------------------------------------------------------


def twice() -> dl.Network:
    """Tiles of a convolution and of a large matrix, a layer that is used twice, dropout."""
    x = dl.Input((8, 8, 3))
    shared = dl.Conv2d(6, 3, padding=1)
    y = dl.MaxPool2d(2)(dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(6, 3, padding=1)(x))))
    y = dl.ReLU()(shared(dl.ReLU()(shared(y))))
    y = dl.Dropout(0.3)(dl.ReLU()(dl.Linear(390)(dl.Flatten()(y))))
    return dl.Network(x, dl.Linear(CLASSES)(y))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_mode_has_the_same_bits(name: str, how: str) -> None:
    """Half of the modes and one share in a session, other ones for each optimizer and way."""
    data = random_batches(np.random.default_rng(3), 5, (8, 8, 3), CLASSES, count=CALLS - 1)
    settings = {"optimizer": OPTIMIZERS[name], "debug": True, **HOW[how]}
    part = list(OPTIMIZERS).index(name) + list(HOW).index(how)
    modes = drawn(OTHER_MODES, 2, part)
    expected = assert_same_bits_in_every_mode(twice(), data, modes=modes, **settings)
    for recompute in drawn((0.0, 0.2), 2, part):
        assert train(twice(), data, "arena", recompute=recompute, **settings) == expected


@pytest.mark.parametrize("how", HOW)
def test_slices_have_the_same_bits_in_every_mode(how: str) -> None:
    data = random_batches(np.random.default_rng(4), 5, (8, 8, 3), CLASSES, count=CALLS - 1)
    assert_same_bits_in_every_mode(chain(), data, slices=3, **HOW[how])


@pytest.mark.parametrize("clip_norm", [1e6, float("inf")])
def test_a_large_norm_clips_nothing(clip_norm: float) -> None:
    data = random_batches(np.random.default_rng(5), 5, (8, 8, 3), CLASSES, count=3)
    plain, step = dl.compile(twice(), 5), dl.compile(twice(), 5, clip_norm=clip_norm)
    for batch in data:
        assert step(*batch) == plain(*batch)
    own = state_bits(step)
    del own["gradient_norm"]
    assert own == state_bits(plain)


# -- norms that are special ------------------------------------------------------------------------


def line(**how: Any) -> dl.Step:
    """A Linear whose weights are 0: its logits are finite whatever comes in."""
    x = dl.Input(2)
    net = dl.Network(x, dl.Linear(2)(x, name="fc"))
    step = dl.compile(net, 1, optimizer=dl.SGD(0.1), clip_norm=1.0, **how)
    step.array("fc.weight")[...] = step.array("fc.bias")[...] = 0
    return step


def test_a_norm_of_zero() -> None:
    net, x, _ = regression()
    step = dl.compile(net, SAMPLES, loss=dl.MSE(), optimizer=dl.SGD(0.1), clip_norm=1.0)
    step.array("fc.weight")[...] = step.array("fc.bias")[...] = 0
    step(x, np.zeros((SAMPLES, OUTPUTS)))
    assert step.gradient_norm == 0
    assert not step.array("fc.weight").any()


def test_a_norm_that_overflows_is_not_hidden() -> None:
    images, labels = np.full((1, 2), 1e25), np.zeros(1, np.int64)
    with np.errstate(all="ignore"):
        step = line()
        assert np.isfinite(step(images, labels))
        assert step.gradient_norm == np.inf
        with pytest.raises(dl.NotFiniteError, match=r"sum_of_squares wrote inf to d:fc\.weight"):
            line(check_finite=True)(images, labels)


def test_a_norm_that_is_no_number_is_not_hidden() -> None:
    with np.errstate(all="ignore"):
        step = line()
        step(np.array([[np.nan, 1]]), np.zeros(1, np.int64))
    assert np.isnan(step.gradient_norm)
    assert np.isnan(step.array("fc.weight")).all()


# -- calls, steps and updates ----------------------------------------------------------------------


def test_what_calls_count() -> None:
    data = random_batches(np.random.default_rng(6), BATCH, IMAGE, CLASSES, count=5)
    step = dl.compile(network(), BATCH, optimizer=dl.Adam(), accumulate=2)
    weights = []
    for calls, batch in enumerate(data, start=1):
        step(*batch)
        assert (step.steps, step.updates, step.held) == (calls, calls // 2, calls % 2)
        assert step.array("norm.num_batches_tracked") == calls
        weights.append(step.array("conv.weight").copy())
    changed = [not np.array_equal(a, b) for a, b in itertools.pairwise(weights)]
    assert changed == [True, False, True, False]


def test_each_call_draws_its_own_dropout() -> None:
    (batch,) = random_batches(np.random.default_rng(7), BATCH, IMAGE, CLASSES, count=1)
    step = dl.compile(network(), BATCH, accumulate=3)
    assert len({step(*batch) for _ in range(3)}) == 3
    step = dl.compile(chain(), 2, accumulate=3)
    (batch,) = random_batches(np.random.default_rng(7), 2, (8, 8, 3), CLASSES, count=1)
    assert len({step(*batch) for _ in range(3)}) == 1


def test_predictions_between_calls_change_nothing() -> None:
    data = random_batches(np.random.default_rng(8), BATCH, IMAGE, CLASSES, count=4)
    plain, asked = (dl.compile(network(), BATCH, accumulate=3, clip_norm=1.0) for _ in range(2))
    for batch in data:
        assert plain(*batch) == asked(*batch)
        asked.predict(batch[0])
    assert state_bits(plain) == state_bits(asked)


def test_feed_and_trace_take_the_same_turns(tmp_path: Path) -> None:
    data = random_batches(np.random.default_rng(9), BATCH, IMAGE, CLASSES, count=5)
    called, fed, traced = (dl.compile(network(), BATCH, accumulate=2) for _ in range(3))
    losses = [called(*batch) for batch in data]
    assert list(fed.feed(data)) == losses
    assert [traced.trace(tmp_path / "trace.json", *batch) for batch in data] == losses
    assert state_bits(called) == state_bits(fed) == state_bits(traced)


def test_a_call_that_failed_is_made_again() -> None:
    data = random_batches(np.random.default_rng(10), BATCH, IMAGE, CLASSES, count=4)
    step = dl.compile(network(), BATCH, accumulate=2)
    step(*data[0])
    right = step._program.run

    def failing(*_: object) -> None:
        step._program.run = right  # type: ignore[method-assign]
        raise ZeroDivisionError

    step._program.run = failing  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        step(*data[1])
    assert (step.held, step.steps) == (1, 1)
    step(*data[1])
    assert (step.held, step.updates) == (0, 1)


def test_variables_go_on_in_the_middle_of_an_accumulation() -> None:
    data = random_batches(np.random.default_rng(11), BATCH, IMAGE, CLASSES, count=7)
    how = {"optimizer": dl.Adam(), "accumulate": 3, "clip_norm": 0.5}
    first = dl.compile(network(), BATCH, **how)
    for batch in data[:4]:
        first(*batch)
    second = dl.compile(network(), BATCH, memory="naive", seed=5, **how)
    second.load_variables(first.variables_dict())
    assert second.held == 1
    for batch in data[4:]:
        assert first(*batch) == second(*batch)
    assert state_bits(first) == state_bits(second)
    step = dl.compile(network(), BATCH, **{**how, "accumulate": 2})
    kept, more = state_bits(step), {**first.variables_dict(), "micro_batch": np.array(2)}
    with pytest.raises(dl.ArgumentError, match="gradients of 2 calls wait"):
        step.load_variables(more)
    assert state_bits(step) == kept


# -- plans -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", MODES)
def test_the_larger_of_both_plans_counts(memory: str) -> None:
    how = {"accumulate": 2, "memory": memory, "device": "cpu"}
    step = dl.compile(twice(), 5, **how)
    assert step.accumulation_plan is not None
    both = step.plan.arena_bytes, step.accumulation_plan.arena_bytes
    assert dl.plan(twice(), 5, **how).arena_bytes == max(both) == step.plan.arena_bytes
    assert step.arena.bytes.nbytes == max(*both, step.inference_plan.arena_bytes)


def test_a_budget_is_for_both_plans() -> None:
    needed = dl.plan(twice(), 5, accumulate=2, recompute=0.0).arena_bytes
    step = dl.compile(twice(), 5, accumulate=2, budget=needed)
    assert step.accumulation_plan is not None
    assert max(step.plan.arena_bytes, step.accumulation_plan.arena_bytes) <= needed
    with pytest.raises(dl.BudgetError):
        dl.plan(twice(), 5, accumulate=2, budget=1000)


def test_the_table_says_what_it_costs() -> None:
    plain, clip, both = (
        dl.plan(chain(), 4, **how)
        for how in ({}, {"clip_norm": 2.0}, {"clip_norm": 2.0, "accumulate": 8})
    )
    weights = sum(v.tensor.nbytes for v in plain.graph.variables if v.saved)
    size = format_size(weights)
    assert clip.bytes_without == {"clip_norm": plain.arena_bytes}
    assert f"clip_norm 2 keeps {size} of weight gradients until their norm" in clip.table()
    assert f"without clipping {format_size(plain.arena_bytes)}" in clip.explain()
    assert "clip_norm 2 waits for the sums" in both.table()
    assert (
        f"accumulate 8 keeps {size} of sums of gradients, an update for 32 samples" in both.table()
    )
    assert f"without accumulation {format_size(clip.arena_bytes)}" in both.table()
    assert "clip_norm" not in plain.table() + plain.explain()
    assert both.recipe.at(2).plan().options.accumulate == 8


# -- what is refused -------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str]] = [
    ({"clip_norm": 0}, "clip_norm must be positive, or None, got 0"),
    ({"clip_norm": -1.0}, "got -1.0"),
    ({"clip_norm": float("nan")}, "clip_norm .* got nan"),
    ({"accumulate": 0}, "accumulate must be a number of calls, at least 1, got 0"),
    ({"accumulate": 1.5}, "accumulate .* got 1.5"),
]


@pytest.mark.parametrize(("how", "message"), BAD)
def test_bad_values_are_refused(how: dict[str, Any], message: str) -> None:
    for build in (dl.plan, dl.compile):
        with pytest.raises(dl.ArgumentError, match=message):
            build(chain(), 2, **how)


def test_no_norm_without_clipping() -> None:
    step = dl.compile(chain(), 2)
    with pytest.raises(dl.ArgumentError, match="compile it with clip_norm"):
        _ = step.gradient_norm
