"""CIFAR-10 on the CPU device beside PyTorch: the script, on a few images and stand-ins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy, cifar10_cpu
from benchmarks.cifar10_cpu import RECIPES, Minidl, Recipe
from benchmarks.gpu import report
from minidl.data import Arrays
from minidl.ir import Array

RECIPE = replace(RECIPES[0], model="lenet", side=16, images=16, batch=8, epochs=2)


def made_images(count: int, labels: Array | None = None) -> Arrays:
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return Arrays(images, np.arange(count) % 10 if labels is None else labels)


AGREED = {
    **{"model": "lenet", "precision": "float32", "seed": 0, "largest_difference": 0.25},
    "losses": {"minidl": [2.0, 3.0], "PyTorch": [2.25, 3.25]},
}


class StandIn:
    """An engine that remembers what it is given and takes every image for one of class 3."""

    made: list[StandIn]
    loss = 1.0

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe, self.seed = recipe, seed
        self.batches: list[tuple[bytes, bytes]] = []
        self.rates: list[float] = []
        self.made.append(self)

    def train(self, images: Array, labels: Array, rate: float) -> float:
        self.batches.append((images.tobytes(), labels.tobytes()))
        self.rates.append(rate)
        return self.loss + len(self.rates)

    def predict(self, images: Array) -> Array:
        return np.tile(np.eye(10)[3], (len(images), 1))


class Other(StandIn):
    loss = 1.25


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StandIn]]:
    StandIn.made = []
    monkeypatch.setattr(cifar10_cpu, "ENGINES", {"minidl": StandIn, "PyTorch": Other})
    yield StandIn.made
    del StandIn.made


def test_a_run_of_minidl() -> None:
    train, test = made_images(20), made_images(11)
    rows = [cifar10_cpu.run(Minidl(RECIPE, 1), RECIPE, 1, train, test) for _ in range(2)]
    first, again = ({k: v for k, v in r.items() if "seconds" not in k} for r in rows)
    assert first == again
    assert first["steps"] == 4
    assert first["test_images"] == 11
    assert np.isfinite([*first["epoch_losses"], first["test_loss"]]).all()
    assert first["test_accuracy"] * 11 == pytest.approx(round(first["test_accuracy"] * 11))
    start = cifar10_cpu.run(Minidl(RECIPE, 2), RECIPE, 2, train, test)["first_losses"]
    assert start != first["first_losses"]


def test_minidl_takes_the_rate_of_each_step() -> None:
    engine = Minidl(RECIPE, 0)
    (batch,) = islice(RECIPE.loaders(made_images(20), made_images(6), 0)[0].epoch(0), 1)
    losses = [engine.train(*batch, rate) for rate in (0.0, 0.01, 0.0)]
    assert losses[1] == losses[0]
    assert losses[2] != losses[0]


def test_engines_of_one_seed_get_the_same(made: list[StandIn], tmp_path: Path) -> None:
    cifar10_cpu.runs(tmp_path, [RECIPE], (0, 1), made_images(20), made_images(6))
    ours, theirs, next_ours, _ = made
    assert ours.batches == theirs.batches
    assert ours.batches != next_ours.batches
    assert len(ours.batches) == len(set(ours.batches)) == 4
    # one cycle: up to the recipe's rate, then down, not at the end of the first epoch only
    assert ours.rates == theirs.rates
    assert max(ours.rates) <= RECIPE.lr
    assert ours.rates[-1] < RECIPE.lr / 1000


def test_a_run_that_is_there_is_not_done_again(made: list[StandIn], tmp_path: Path) -> None:
    test = made_images(8, np.array([3, 1, 3, 3, 0, 9, 2, 3]))
    cifar10_cpu.runs(tmp_path, [RECIPE], (0,), made_images(20), test)
    (tmp_path / "run-lenet-PyTorch-0.json").unlink()
    cifar10_cpu.runs(tmp_path, [RECIPE], (0,), made_images(20), test)
    assert [type(engine) for engine in made] == [StandIn, Other, Other]
    found = json.loads((tmp_path / "cifar10.json").read_text())
    assert [row["engine"] for row in found["rows"]] == ["PyTorch", "minidl"]
    assert [row["test_accuracy"] for row in found["rows"]] == [0.5, 0.5]
    assert found["rows"][1]["epoch_losses"] == [2.5, 4.5]
    cifar10_cpu.runs(tmp_path, [replace(RECIPE, lr=0.01)], (0,), made_images(20), test)
    assert len(made) == 5


def test_the_summary() -> None:
    reached = {"minidl": {0: 0.5, 1: 0.7, 2: 0.6}, "PyTorch": {0: 0.4, 1: 0.75}}
    rows = [
        {"model": "vgg_small", "engine": engine, "seed": seed, "test_accuracy": accuracy}
        for engine, by_seed in reached.items()
        for seed, accuracy in by_seed.items()
    ]
    ours, theirs, apart = accuracy.summary(rows)
    assert ours == {
        **{"model": "vgg_small", "engine": "minidl", "seeds": 3},
        **{"mean": pytest.approx(0.6), "min": 0.5, "max": 0.7},
    }
    assert (theirs["mean"], theirs["seeds"]) == (pytest.approx(0.575), 2)
    assert apart["differences"] == pytest.approx([0.1, -0.05])
    assert apart["mean_difference"] == pytest.approx(0.025)


def test_agreement_is_without_dropout(made: list[StandIn]) -> None:
    recipe = replace(RECIPE, dropout=0.5)
    row = cifar10_cpu.agreement(recipe, 0, made_images(30), made_images(6), steps=2)
    assert row["losses"] == {"minidl": [2.0, 3.0], "PyTorch": [2.25, 3.25]}
    assert row["largest_difference"] == 0.25
    assert [engine.recipe.dropout for engine in made] == [0.0, 0.0]
    assert made[0].rates == made[1].rates == [recipe.rate(0, 2), recipe.rate(1, 2)]


def test_the_page_has_the_accuracies(made: list[StandIn], tmp_path: Path) -> None:
    before = report.page(tmp_path)
    folder = tmp_path / "cpu" / "2026-01-02"
    test = made_images(8, np.array([3, 1, 3, 3, 0, 9, 2, 3]))
    cifar10_cpu.runs(folder, [replace(RECIPE, dropout=0.25)], (0, 1), made_images(20), test)
    cifar10_cpu.write(folder / "agree-lenet-float32.json", AGREED)
    cifar10_cpu.write(folder / "cifar10.json", cifar10_cpu.gather(folder))
    page = report.page(tmp_path)
    assert page.startswith(before)
    added = page.removeprefix(before)
    assert "`cpu/2026-01-02/cifar10.json`" in added
    assert "all 8 test images" in " ".join(added.split())
    assert "16 images" in added
    assert "dropout 0.25" in added
    assert "| lenet | PyTorch | 50.00 % | 50.00 % | 50.00 % | 50.00, 50.00 |" in added
    assert "| lenet | minidl - PyTorch | +0.00 |  |  | +0.00, +0.00 |" in added
    assert added.endswith("the losses of the first 2 steps differ by 2.5e-01 at most.\n")
