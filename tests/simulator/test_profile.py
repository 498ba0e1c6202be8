"""Measuring steps: batches, ops that may not run twice, and what counts as exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl as dl
from benchmarks.gpu import commands
from benchmarks.gpu.first_contact import reference
from benchmarks.gpu.first_contact.profile import _eats_its_index
from benchmarks.gpu.first_contact.reference import Outcome, compare
from benchmarks.gpu.floor import floor
from benchmarks.gpu.network import Case, batch_of
from minidl.ir import Op, Tensor
from tests.simulator.networks import NETWORKS

CASE = Case(NETWORKS["vgg_shaped"], 3, reference_batch=3)
EXACT: Outcome = (np.ones((3, 5)), 1.5, {"a": np.full(8, 2.0), "b": np.full(8, 1e-9)})


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_is_of_the_network_and_always_the_same(name: str) -> None:
    network = NETWORKS[name]()
    ((shape, dtype),) = network.input_specs
    images, labels = batch_of(network, 11)
    assert images.shape == (11, *shape)
    assert images.dtype == (dtype or "float32")
    assert len(np.unique(images.reshape(11, -1), axis=0)) == 11
    assert labels.shape == (11,)
    assert images.tobytes() == batch_of(network, 11)[0].tobytes()


class Places:
    """A plan that has tensors at given bytes."""

    def __init__(self, places: dict[Tensor, int]) -> None:
        self.places = places

    def offset(self, t: Tensor) -> int:
        return self.places[t]


@pytest.mark.parametrize(
    ("dtype", "at", "expected"),
    [("uint8", 0, True), ("uint8", 15, True), ("uint8", 16, False), ("float32", 0, False)],
)
def test_an_op_over_its_index_runs_once(dtype: str, at: int, expected: bool) -> None:
    read, written = (
        Tensor("i", (4,), dtype, "activation"),
        Tensor("y", (4,), "float32", "activation"),
    )
    op = Op(np.copyto, writes=(written,), reads=(read,), layer="", phase="forward")
    places: Any = Places({read: at, written: 0})
    assert _eats_its_index(op, places) is expected


def test_a_floor_is_the_longer_of_both() -> None:
    x = Tensor("x", (1000, 1000), "float32", "activation")
    op = Op(np.copyto, writes=(x,), reads=(x,), layer="", phase="forward", flops=10**9)
    assert floor(op, 1.0, 1e6) == {"floor_ms": 1.0, "bound": "compute"}
    assert floor(op, 1e6, 1.0) == {"floor_ms": 8.0, "bound": "memory"}
    assert floor(op, None, 1.0) == {}


def found(**changes: Any) -> Outcome:
    logits, loss, gradients = EXACT
    return (
        changes.get("logits", logits),
        changes.get("loss", loss),
        {**gradients, **changes.get("gradients", {})},
    )


@pytest.mark.parametrize(
    ("outcome", "wrong"),
    [
        (found(), ""),
        (found(loss=1.5 + 1e-6, gradients={"a": np.full(8, 2.0001)}), ""),
        (found(gradients={"b": np.zeros(8)}), ""),  # too small to be judged by itself
        (found(loss=float("nan")), "loss off by nan"),
        (found(logits=np.full((3, 5), 1.001)), "logits off by"),
        (found(gradients={"a": np.zeros(8)}), "gradients off by 1"),
        (found(gradients={"b": np.full(8, np.nan)}), "worst off by nan"),
    ],
)
def test_what_is_exact(monkeypatch: pytest.MonkeyPatch, outcome: Outcome, wrong: str) -> None:
    monkeypatch.setattr(reference, "_exact", lambda case: EXACT)
    monkeypatch.setattr(reference, "outcome", lambda case, **how: outcome)
    row = compare(None, CASE, "float32")
    assert wrong in row.get("wrong", "") if wrong else "wrong" not in row
    rough = Case(CASE.build, 3, reference_batch=3, smooth=False)
    if np.isnan(outcome[1]):
        assert "loss" in compare(None, rough, "bf16")["wrong"]


def test_results_need_a_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OUT", raising=False)
    with pytest.raises(SystemExit):
        commands.main(["first-contact"])
    assert "--out DIR, or OUT in the environment" in capsys.readouterr().err


def test_the_networks_of_real_size_are_the_models() -> None:
    from benchmarks.gpu import machine

    for case in machine.CASES:
        assert case.model in dl.models.MODELS
        assert case.reference_batch < case.batch
