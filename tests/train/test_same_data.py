"""A run goes on with the images that it began with, or says that it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.data import Arrays, Loader
from minidl.ir import ArgumentError
from minidl.train import InOrder, Repeated, Shuffled, Trainer, checkpoint, latest, opened
from tests.train.small import BATCH, compiled, made_images, training, validation
from tests.train.test_trainer import At, StoppedError, stop
from tests.training import state_bits

NAMES = tuple("abcdef")


def loader(names: tuple[str, ...] = NAMES, count: int = 24, shuffle: bool = True) -> Loader:
    """Of images whose classes have names."""
    return Loader(Arrays(*made_images(count), names), BATCH, seed=0, shuffle=shuffle)


def stopped(folder: Path, steps: int, train: Any, val: Any = None) -> None:
    """A run that ended behind a checkpoint of that step."""
    how = {"checkpoint_every": 1, "callbacks": [At(steps + 1, stop)]}
    run = Trainer(compiled(), quiet=True, output_dir=folder, **how)  # type: ignore[arg-type]
    with pytest.raises(StoppedError):
        run.fit(train, val, 3)


def resumed(folder: Path, train: Any, val: Any = None, **how: Any) -> Trainer:
    run = Trainer(compiled(), quiet=True, output_dir=folder, resume=folder, **how)
    run.fit(train, val, 3)
    return run


def swapped() -> Shuffled:
    images, labels = made_images(24)
    return Shuffled(images, (labels + 1) % 6, BATCH)


CHANGES: dict[str, tuple[Any, Any, str]] = {
    "an image more": (training(25), validation(), r"training images .* there are 25, there were"),
    "other labels": (swapped(), validation(), "training images .* classes have other numbers"),
    "fewer to validate": (training(), validation(13), "validation images .* there are 13, there"),
    "both": (swapped(), validation(13), r"training images .*; the validation images"),
}


@pytest.mark.parametrize("steps", [6, 8])
@pytest.mark.parametrize("what", CHANGES)
def test_other_images_are_refused_and_nothing_changed(
    what: str, steps: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, val, words = CHANGES[what]
    stopped(tmp_path, steps, training(), validation())
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ArgumentError, match=words) as caught:
        resumed(tmp_path, train, val)
    assert "other_data=True" in caught.value.hint
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == files
    assert capsys.readouterr().err == ""
    assert resumed(tmp_path, train, val, other_data=True).epoch == 3
    said = capsys.readouterr().err
    assert said.count("\n") == (2 if what == "both" else 1)
    assert said.startswith("minidl: the ")


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a", "b", "c", "d", "e", "z"), "'f' is gone and 'z' is new"),
        (("b", "a", "c", "d", "e", "f"), "their order is another"),
    ],
)
def test_other_classes_are_always_refused(
    names: tuple[str, ...], words: str, others: bool, tmp_path: Path
) -> None:
    stopped(tmp_path, 6, loader())
    with pytest.raises(ArgumentError, match=f"other classes than the checkpoint's: {words}"):
        resumed(tmp_path, loader(names), other_data=others)


def test_the_same_images_in_other_arrays_are_the_same(tmp_path: Path) -> None:
    stopped(tmp_path, 8, training(), validation())
    one = resumed(tmp_path, training(), validation())
    step = compiled()
    Trainer(step, quiet=True).fit(training(), validation(), 3)
    assert state_bits(one.step) == state_bits(step)


def test_a_checkpoint_says_what_it_was_trained_on(tmp_path: Path) -> None:
    stopped(tmp_path, 6, loader(), loader(shuffle=False))
    data = opened(tmp_path).state.data
    assert data["train"] == data["val"]
    assert data["train"].classes == NAMES
    assert sum(data["train"].counts) == 24


def test_one_without_a_fingerprint_goes_on_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As 0.1.0 wrote them."""
    stopped(tmp_path, 6, training())
    path = latest(tmp_path)
    assert path is not None
    step = compiled()
    state = checkpoint.load(path, step)
    state.data = {}
    path.unlink()
    checkpoint.save(tmp_path, step, state)
    assert resumed(tmp_path, training(28)).epoch == 3
    assert capsys.readouterr().err == (
        "minidl: the checkpoint does not say which images it was trained on: not compared\n"
    )


def test_a_loader_that_says_nothing_is_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = list(training().epoch(0))
    stopped(tmp_path, 6, batches)
    assert resumed(tmp_path, [*batches, batches[0]]).epoch == 3
    assert capsys.readouterr().err == ""


def test_a_wrapped_loader_says_what_is_inside(tmp_path: Path) -> None:
    inner = InOrder(*made_images(24), BATCH)

    class Walked:
        fingerprint = inner.fingerprint

        def __len__(self) -> int:
            return len(inner)

        def __iter__(self) -> Any:
            return inner.epoch(0)

    assert Repeated(Walked()).fingerprint == inner.fingerprint
    assert np.array_equal(next(Repeated(Walked()).epoch(0))[1], inner.labels[:BATCH])
