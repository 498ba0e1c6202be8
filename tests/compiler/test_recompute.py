"""Recomputation: the same bits, no more work than allowed, never more bytes; budgets."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import minidl as dl
from minidl.compiler.recompute import run_twice
from minidl.compiler.recompute.copies import StaleError
from minidl.ir import Op, StepGraph, Tensor, format_size, parse_size
from minidl.placed.file import placed_to_dict
from tests.compiler.random_networks import described, networks, optimizers
from tests.training import random_batches, train

pytestmark = pytest.mark.usefixtures("quick_placement")

QUICK = settings(
    deadline=None,
    derandomize=True,
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def deep(width: int = 8) -> dl.Network:
    """Convolutions with BatchNorm and ReLU: what cheap recomputation is for."""
    x = y = dl.Input((12, 12, 3))
    for _ in range(4):
        y = dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(width, 3, padding=1)(y)))
    return dl.Network(x, dl.Linear(3)(dl.Flatten()(y)))


def planned(network: dl.Network, batch: int = 4, **how: object) -> dl.Plan:
    return dl.plan(network, batch, device="cuda", **how)  # type: ignore[arg-type]


def recomputed(plan: dl.Plan) -> list[Op]:
    return [op for op in plan.graph.ops if op.phase == "recompute"]


def share(plan: dl.Plan) -> float:
    """Operations that run again, of those of the step as it was."""
    work = sum(op.flops for op in recomputed(plan))
    return work / (plan.graph.flops - work)


@QUICK
@given(networks(), optimizers(), st.sampled_from([None, 0.0, 0.05, 0.5, 1.0]))
def test_the_same_bits_within_the_share(
    drawn: tuple[dl.Network, int], optimizer: dl.Optimizer, recompute: float | None
) -> None:
    network, batch = drawn
    note(described(network))
    data = random_batches(np.random.default_rng(0), batch, network.image, 3)
    how = {"optimizer": optimizer, "seed": 1}
    expected = train(network, data, "naive", **how)
    assert train(network, data, "arena", recompute=recompute, debug=True, **how) == expected
    plan = planned(network, batch, optimizer=optimizer, recompute=recompute)
    none = planned(network, batch, optimizer=optimizer, recompute=0)
    assert none.recompute_flops == 0
    assert plan.max_load_bytes <= none.max_load_bytes
    cheap = all(op.contract.cheap for op in recomputed(plan))
    assert cheap or (recompute is not None and share(plan) <= recompute)


def test_cheap_ops_run_again_by_default_and_can_be_switched_off() -> None:
    default, none = planned(deep()), planned(deep(), recompute=0)
    kernels = {op.kernel for op in recomputed(default)}
    assert {"batchnorm2d_normalize", "relu_forward"} & set(kernels) or any(
        "batchnorm2d_normalize" in k for k in kernels
    )
    assert default.arena_bytes < none.arena_bytes
    assert planned(deep(), disable_passes=("recompute",)).recompute_flops == 0


def test_more_work_never_needs_more_bytes() -> None:
    sizes = [planned(deep(), recompute=r).max_load_bytes for r in (0, 0.01, 0.1, 1.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def test_statistics_never_run_twice() -> None:
    plan = planned(deep(), recompute=1.0)
    assert recomputed(plan)
    assert not any(t.persistent for op in recomputed(plan) for t in op.writes)


def test_a_budget_is_met_with_less_work_than_a_smaller_one() -> None:
    free, tight = planned(deep()), planned(deep(), recompute=1.0)
    middle = (free.arena_bytes + tight.arena_bytes) // 2
    plan = planned(deep(), budget=middle)
    assert plan.arena_bytes <= middle
    assert 0 < plan.recompute_flops <= tight.recompute_flops
    assert planned(deep(), budget=free.arena_bytes).recompute_flops == free.recompute_flops


def test_a_budget_that_fails_says_by_how_much_and_what_fits() -> None:
    with pytest.raises(dl.BudgetError) as caught:
        planned(deep(), batch=64, budget="300KiB")
    error = caught.value
    assert error.budget == parse_size("300KiB")
    assert f"{format_size(error.needed - error.budget)} short" in str(error)
    levers = re.findall(r"(\S+) needs (?:about )?(\S+ [KMG]?i?B)", str(error))
    assert levers
    assert all(parse_size(needed.replace(" ", "")) < error.needed for _, needed in levers)
    batch = int(str(error).split("batch ")[1].split()[0])
    assert 1 <= batch < 64
    assert planned(deep(), batch=batch, budget="300KiB").arena_bytes <= error.budget


def test_a_hopeless_budget_says_that_no_batch_fits() -> None:
    with pytest.raises(dl.BudgetError, match="batch 1 does not fit either"):
        planned(deep(), budget=1000)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan"), float("inf"), "some"])
def test_bad_shares(share: object) -> None:
    with pytest.raises(dl.ArgumentError, match="share"):
        planned(deep(), recompute=share)


def test_only_arena_recomputes() -> None:
    with pytest.raises(dl.ArgumentError, match="memory='arena'"):
        planned(deep(), memory="caffe", recompute=0.1)


def nothing() -> None:
    """Never run."""


def test_an_op_does_not_run_again_on_weights_that_have_changed() -> None:
    x = Tensor("x", (4,), "float32", "input")
    w = Tensor("w", (4,), "float32", "parameter")
    y, out = (Tensor(n, (4,), "float32", "activation") for n in ("y", "out"))
    ops = (
        Op(nothing, "a", "forward", (y,), (x, w)),
        Op(nothing, "a", "update", (w,), (w,)),
        Op(nothing, "b", "dgrad", (out,), (y,)),
    )
    graph = StepGraph(ops, (x,), (out,))
    with pytest.raises(StaleError, match="w, which has changed"):
        run_twice(graph, {y})
    first = StepGraph((ops[0], ops[2], ops[1]), (x,), (out,))
    twice = run_twice(first, {y})
    assert [op.phase for op in twice.ops] == ["forward", "recompute", "dgrad", "update"]
    assert twice.ops[2].reads == twice.ops[1].writes != (y,)


@pytest.mark.parametrize("how", [{"recompute": 0.05, "slices": 4}, {"recompute": 0.3, "slices": 2}])
def test_the_same_plan_every_time(how: dict[str, float]) -> None:
    """Tensors are compared by identity: their addresses must not decide anything."""
    texts = set()
    for _ in range(3):
        plan = dl.plan(dl.models.vgg11(), 16, device="cuda", **how)  # type: ignore[arg-type]
        texts.add(json.dumps(placed_to_dict(plan)))
    assert len(texts) == 1


def test_less_scratch_is_tried_before_more_work() -> None:
    """LeNet's scratch on the CPU is most of its arena; kernels with less of it are there."""
    network = dl.models.lenet(classes=10)
    free = dl.plan(network, 64, device="cpu")
    plan = dl.plan(network, 64, device="cpu", budget="5MiB")
    assert free.arena_bytes > 5 * 2**20 >= plan.arena_bytes
    assert plan.recompute_flops <= free.recompute_flops
    assert plan.options.scratch_limit < free.options.scratch_limit


def test_a_refusal_names_the_smallest_budget() -> None:
    """The same, whatever was asked for; with it, and with more, there is a plan. Of scratch on the
    CPU there is as much as of all else."""
    least = _refused(int(np.random.default_rng().integers(2**10, 2**16))).needed
    assert _refused(least - 1).needed == least
    for budget in (least, least + 2**12):
        assert dl.plan(_small(), 8, device="cpu", budget=budget).arena_bytes <= budget


def _small() -> dl.Network:
    layers = [layer for width in (8, 12) for layer in (dl.Conv2d(width, 3), dl.Tanh())]
    return dl.Sequential(dl.Input((12, 12, 3)), *layers, dl.Flatten(), dl.Linear(3))


def _refused(budget: int) -> dl.BudgetError:
    with pytest.raises(dl.BudgetError) as caught:
        dl.plan(_small(), 8, device="cpu", budget=budget)
    return caught.value


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"budget": 0}, "budget must be"),
        ({"budget": "some"}, "not a size"),
        ({"budget": -1}, "budget must be"),
        ({"slices": 5}, r"slices must be in \[1, 4\]"),
        ({"recompute": 1.01}, "share of the step's operations"),
        ({"recompute": -0.01}, "share of the step's operations"),
    ],
)
def test_what_cannot_be_is_refused_at_once(how: dict[str, Any], words: str) -> None:
    with pytest.raises(dl.ArgumentError, match=words):
        planned(deep(), **how)


def test_a_budget_that_is_never_reached_changes_nothing() -> None:
    assert planned(deep(), budget="10TiB").arena_bytes == planned(deep()).arena_bytes


def test_progress_is_told_and_can_end_the_search() -> None:
    told: list[tuple[str, float]] = []
    planned(deep(), recompute=0.1, progress=lambda phrase, share: told.append((phrase, share)))
    assert told[0] == ("searching for what to make anew", 0)
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1

    def end(phrase: str, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        planned(deep(), recompute=0.1, progress=end)
