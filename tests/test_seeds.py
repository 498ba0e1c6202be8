"""Seeds: every whole number in [0, 2^64) has random numbers of its own wherever one is taken, and
nothing else is a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl import data, train
from minidl.cli import main
from minidl.ir import Array
from minidl.predict import ModelCard, training_loader
from minidl.train import opened
from tests.cli.runs import SMALL, photos

COUNT = 64
X = np.arange(COUNT * 8 * 8 * 3, dtype=np.uint8).reshape(COUNT, 8, 8, 3)
Y = np.arange(COUNT) % 2
SOURCE = data.Arrays(X, Y)
HELD = data.Arrays(np.zeros((2000, 1, 1, 1), np.uint8), np.arange(2000))
"""Of one image in ten there are many choices."""


def small(seed: Any, *layers: dl.Layer) -> dl.Step:
    return dl.compile(dl.Sequential(dl.Input(64), *layers, dl.Linear(64)), 2, seed=seed)


def dropped(seed: Any) -> bytes:
    step = small(seed, dl.Dropout())
    step.array("1.weight")[...] = 1
    return np.float64(step(np.arange(128).reshape(2, 64) / 64, np.array([0, 1]))).tobytes()


def first_of(loader: train.Feed) -> bytes:
    return b"".join(np.ascontiguousarray(array).tobytes() for array in next(loader.epoch(0)))


def test_of(splits: data.Splits) -> bytes:
    return bytes(splits.test.labels.tobytes())


test_of.__test__ = False  # type: ignore[attr-defined]


def fitted(seed: Any) -> bytes:
    images = X[..., :1].reshape(COUNT, -1).astype(np.float32) / 255
    step = small(0)
    train.fit(step, data.Dataset("x", ("0", "1"), images, Y, images[:2], Y[:2]), 1, seed=seed)
    return step.array("0.weight").tobytes()


CARD = ModelCard("lenet", 2, (8, 8, 3))

PLACES: dict[str, Callable[[Any], bytes]] = {
    "weights": lambda seed: small(seed).array("0.weight").tobytes(),
    "biases": lambda seed: small(seed).array("0.bias").tobytes(),
    "dropout": dropped,
    "batches": lambda seed: next(data.batches(X, Y, 32, seed=seed, epoch=0))[0].tobytes(),
    "Shuffled": lambda seed: first_of(train.Shuffled(X, Y, 32, seed=seed)),
    "fit": fitted,
    "order of a Loader": lambda seed: first_of(data.Loader(SOURCE, 32, seed=seed)),
    "crops of a Loader": lambda seed: first_of(
        data.Loader(SOURCE, 32, transform=data.PadCrop(8), seed=seed, shuffle=False)
    ),
    "training_loader": lambda seed: first_of(
        training_loader(CARD, SOURCE, 32, seed=seed, workers=0)
    ),
    "held_out": lambda seed: test_of(data.held_out(HELD, seed)),
}
"""Where a seed comes in, and what it decides."""

SEEDS = (0, 1, 2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, 2**63 + 5, 2**64 - 1)

NONE: tuple[Any, ...] = (-1, 2**64, 1.5, 1.0, True, "1", None, float("nan"), np.float32(1), [0, 1])
"""What is no seed."""


@pytest.fixture(autouse=True)
def quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """`fit` prints a line an epoch."""


@pytest.mark.parametrize("place", PLACES)
def test_every_seed_has_numbers_of_its_own(place: str) -> None:
    found = {seed: PLACES[place](seed) for seed in SEEDS}
    assert len(set(found.values())) == len(SEEDS)
    assert {seed: PLACES[place](seed) for seed in SEEDS[-2:]} == {s: found[s] for s in SEEDS[-2:]}


@pytest.mark.parametrize("place", PLACES)
def test_numbers_of_numpy_are_seeds(place: str) -> None:
    for seed in (np.int64(2**63 - 1), np.uint64(2**64 - 1), np.uint8(1)):
        assert PLACES[place](seed) == PLACES[place](int(seed))


@pytest.mark.parametrize("seed", NONE, ids=str)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_else_is_a_seed(place: str, seed: Any) -> None:
    with pytest.raises(dl.ArgumentError, match=r"seed must be a whole number in \[0, 2\^64\), got"):
        PLACES[place](seed)


@pytest.mark.parametrize("seed", NONE, ids=str)
def test_opened_data_need_a_seed(seed: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=X, labels=Y)
    with pytest.raises(dl.ArgumentError, match="seed must be a whole number"):
        data.open_data(tmp_path / "x.npz", seed=seed)


def philox(*key: int) -> np.random.Generator:
    """NumPy's own way from a small seed, which was ours from the beginning."""
    return np.random.Generator(np.random.Philox(key=list(key)))


@pytest.mark.parametrize("seed", [0, 1, 7, 2**40])
def test_small_seeds_draw_what_they_always_drew(seed: int) -> None:
    (images, _), *_ = data.batches(X, Y, 32, seed=seed, epoch=3)
    expected: Array = X[philox(seed, 3).permutation(COUNT)[:32]]
    np.testing.assert_array_equal(images, expected)


@pytest.mark.parametrize("word", ["-1", str(2**64), "1.5", "one", "1e3", "9" * 5000])
def test_the_command_line_refuses_what_is_no_seed(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", f"--seed={word}"])
    assert "--seed: must be a whole number in [0, 2^64), got " in capsys.readouterr().err


@pytest.mark.parametrize("seed", [2**63 - 1, 2**63, 2**64 - 1])
def test_the_command_line_takes_and_keeps_every_seed(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a flag, in a file, in the record of a run that goes on and that is measured."""
    config, out = tmp_path / "c.toml", tmp_path / "run"
    config.write_text(f"seed = {seed}\n")
    how = ["train", "--config", str(config), *SMALL, "--data-path", str(photos(tmp_path))]
    assert main([*how, "--epochs", "1", "--output-dir", str(out)]) == 0
    assert main(["train", "--resume", str(out), "--epochs", "2", f"--seed={seed}"]) == 0
    assert main(["eval", "--run", str(out), "-j", "0"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("minidl: weights of epoch ") for line in said)
    assert opened(out).state.arguments["flags"]["seed"] == seed
