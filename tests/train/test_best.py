"""The best checkpoint: which epoch it is, that nothing removes it, and that a run which stopped and
goes on has the same one."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minidl.ir import ArgumentError, CheckpointError
from minidl.train import Ema, Epoch, History, Trainer, checkpoint, latest
from minidl.train.best import METRICS, Best, KeepBest, averaged_in, best_in, chosen
from minidl.train.checkpoint import BEST
from tests.train.small import compiled, training, validation

NAN = math.nan


def epoch(number: int, **values: float | None) -> Epoch:
    return Epoch(number, number, loss=1.0, learning_rate=0.1, **values)


class Watched:
    """A run that has measured, and no more: which epochs would be saved."""

    def __init__(self, metric: str | None) -> None:
        self.keep, self.saved = KeepBest(metric), list[int]()
        self.history = History()

    def measure(self, **values: float | None) -> None:
        self.history.epochs.append(epoch(len(self.history) + 1, **values))
        run = SimpleNamespace(history=self.history, epoch=len(self.history), measured="val")
        run.save_best = lambda: self.saved.append(run.epoch)
        self.keep.on_epoch_end(run)  # type: ignore[arg-type]


@pytest.mark.parametrize(("metric", "values", "saved"), [
    ("top1", [0.5, 0.4, 0.5, 0.6, 0.6], [1, 4]),
    ("val_loss", [0.5, 0.4, 0.4, 0.6, 0.1], [1, 2, 5]),
    ("ema_loss", [NAN, 0.4, NAN, 0.3], [2, 4]),
    ("ema_top1", [None, 0.1, 0.1, None, 0.2], [2, 5]),
    ("top5", [0.0, 0.0, 1.0], [1, 3]),
])  # fmt: skip
def test_the_direction_is_the_metrics_and_the_first_of_equals_stays(
    metric: str, values: list[float | None], saved: list[int]
) -> None:
    run = Watched(metric)
    for value in values:
        run.measure(**{metric: value})
    assert run.saved == saved


@pytest.mark.parametrize("metric", METRICS)
def test_any_values(metric: str) -> None:
    seed = np.random.SeedSequence().generate_state(1)[0]
    values = np.random.default_rng(seed).integers(0, 6, 12) / 6
    run = Watched(metric)
    for value in values:
        run.measure(**{metric: float(value)})
    place = values.argmin() if "loss" in metric else values.argmax()
    assert run.saved[-1] == place + 1, seed
    assert run.keep.best == Best(metric, values[place], int(place) + 1, "val"), seed


def test_where_none_is_asked_for_it_is_the_accuracy_of_averaged_weights_once_they_are_there() -> (
    None
):
    run = Watched(None)
    run.measure(val_loss=1.0, top1=0.9)
    run.measure(val_loss=0.9, top1=0.95, ema_loss=2.0, ema_top1=0.2)
    run.measure(val_loss=0.1, top1=0.99, ema_loss=2.0, ema_top1=0.1)
    assert (run.saved, run.keep.best) == ([1, 2], Best("ema_top1", 0.2, 2, "val"))
    run = Watched(None)
    run.measure(val_loss=1.0)
    run.measure(val_loss=2.0)
    assert (run.saved, run.keep.best) == ([1], Best("val_loss", 1.0, 1, "val"))
    run = Watched(None)
    run.measure()
    assert (run.saved, run.keep.best) == ([], None)
    run_without: Any = SimpleNamespace(measured_fields={"loss", "val_loss"})
    with pytest.raises(ArgumentError, match="keep_best watches top1"):
        KeepBest("top1").on_fit_begin(run_without)


def test_in_words() -> None:
    assert str(Best("top1", 0.953, 7, "val")) == "the best by val accuracy 95.30 %"
    assert str(Best("val_loss", 0.25, 7, "test")) == "the best by test loss 0.2500"


# -- runs ------------------------------------------------------------------------------------------

EPOCHS = 5
LOSSES = [0.5, 0.3, 0.4, 0.3, 0.2]
"""Of the epochs, as the runs below measure them: the second, and then the last, are the best."""


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation whose losses are known, so that the best is none of the last ones."""

    def validate(self: Trainer, *_: Any) -> dict[str, float]:
        found = {"val_loss": LOSSES[self.epoch], "top1": 1 - LOSSES[self.epoch]}
        return found | ({"ema_top1": LOSSES[self.epoch]} if self.ema is not None else {})

    monkeypatch.setattr(Trainer, "_validate", validate)


STEP = compiled()
BEGIN = STEP.variables_dict()


def trained(folder: Path, epochs: int, resume: Path | None = None, **how: Any) -> Trainer:
    STEP.load_variables(BEGIN)
    how = {"quiet": True, "keep": 1, **how}
    made = Trainer(STEP, output_dir=folder, resume=resume, **how)
    made.fit(training(), validation(), epochs)
    return made


def what(folder: Path) -> tuple[int, Best | None, dict[str, bytes]]:
    variables, state = checkpoint.read(folder / BEST)
    return state.epoch, best_in(state), {name: a.tobytes() for name, a in variables.items()}


def test_it_stays_whatever_is_removed(tmp_path: Path) -> None:
    trained(tmp_path, 4)
    assert what(tmp_path)[:2] == (2, Best("top1", 0.7, 2, "test"))
    assert [p.name for p in checkpoint.found(tmp_path)] == ["checkpoint-00000024.safetensors"]
    last = latest(tmp_path)
    assert last is not None
    assert best_in(checkpoint.read(last)[1]) == Best("top1", 0.7, 2, "test")


@pytest.mark.parametrize(
    ("stopped", "elsewhere"), [(1, False), (2, False), (3, False), (2, True), (3, True)]
)
def test_a_run_that_goes_on_has_the_best_of_one_that_never_stopped(
    stopped: int, elsewhere: bool, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trained(whole, 4)
    trained(parts, stopped)
    there = tmp_path / "there" if elsewhere else parts
    trained(there, 4, resume=parts)
    assert what(there) == what(whole)


@pytest.mark.parametrize("fault", ["gone", "damaged", "cut"])
def test_one_that_is_lost_is_said_and_kept_anew(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path, 3)
    harm(tmp_path / BEST, fault)
    trained(tmp_path, 4, resume=tmp_path)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "the checkpoint of epoch 2, the best by test accuracy 70.00 %, is lost" in error
    assert ("damaged" in error) == (fault != "gone")
    assert what(tmp_path)[:2] == (4, Best("top1", 0.7, 4, "test"))


@pytest.mark.parametrize("fault", ["gone", "damaged", "cut"])
def test_one_that_is_the_last_is_written_again(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a crash in between, too."""
    trained(tmp_path, 2)
    before = what(tmp_path)
    harm(tmp_path / BEST, fault)
    trained(tmp_path, 3, resume=tmp_path)
    assert what(tmp_path) == before
    assert capsys.readouterr().err == ""


def harm(path: Path, fault: str) -> None:
    if fault == "gone":
        path.unlink()
        return
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw if fault == "damaged" else raw[:100])


def test_epochs_that_are_done_again_choose_again(tmp_path: Path) -> None:
    """Of a run that went on from an earlier checkpoint than its best."""
    trained(tmp_path, EPOCHS, keep=9)
    whole = what(tmp_path)
    assert whole[0] == 5
    for path in checkpoint.found(tmp_path)[3:]:
        path.unlink()
    trained(tmp_path, 4, resume=tmp_path, keep=9)
    assert what(tmp_path)[0] == 4
    trained(tmp_path, EPOCHS, resume=tmp_path, keep=9)
    assert what(tmp_path) == whole


def test_another_metric_begins_anew(tmp_path: Path) -> None:
    trained(tmp_path, 2, keep_best="top1")
    trained(tmp_path, 3, resume=tmp_path, keep_best="val_loss")
    assert what(tmp_path)[1] == Best("val_loss", 0.4, 3, "test")


def test_a_folder_with_a_best_is_another_runs(tmp_path: Path) -> None:
    trained(tmp_path, 1)
    for path in checkpoint.found(tmp_path):
        path.unlink()
    with pytest.raises(ArgumentError, match="checkpoints of another run"):
        trained(tmp_path, 1)
    with pytest.raises(CheckpointError, match=f"name .*{BEST}"):
        trained(tmp_path, 1, resume=tmp_path)
    assert len(trained(tmp_path, 2, resume=tmp_path / BEST).history) == 2


def test_without(tmp_path: Path) -> None:
    trained(tmp_path, 2, keep_best=False)
    assert not (tmp_path / BEST).exists()
    found, words = chosen(tmp_path)
    assert (found.path, words) == (latest(tmp_path), "epoch 2, the last one: no best is kept")
    trained(tmp_path, 3, resume=tmp_path)
    assert chosen(tmp_path)[0].path == tmp_path / BEST
    trained(tmp_path, 4, resume=tmp_path, keep_best=False)
    found, words = chosen(tmp_path)
    assert found.path == latest(tmp_path)
    assert words == "epoch 4, the last one: the best was not kept until then"
    for how, said in (
        ({"keep_best": "top1"}, "keep_best needs an output_dir"),
        ({"keep_best": "loss"}, "keep_best must be"),
        ({"keep_best": "ema_top1", "output_dir": tmp_path}, "no averaged weights"),
    ):
        with pytest.raises(ArgumentError, match=said):
            Trainer(STEP, quiet=True, **how)  # type: ignore[arg-type]


def test_which_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, 4)
    last = latest(tmp_path)
    best = tmp_path / BEST
    words = "epoch 2 of 4, the best by test accuracy 70.00 %"
    assert [(found.path, said) for found, said in (chosen(tmp_path), chosen(tmp_path, "best"))] == [
        (best, words)
    ] * 2
    found, said = chosen(tmp_path, "last")
    assert (found.path, said) == (last, "epoch 4")
    harm(best, "damaged")
    assert chosen(tmp_path)[0].path == last
    assert "damaged: its checksum differs from its content; taking the last" in (
        capsys.readouterr().err
    )
    with pytest.raises(CheckpointError, match="damaged"):
        chosen(tmp_path, "best")
    best.unlink()
    with pytest.raises(CheckpointError, match='checkpoint="last"'):
        chosen(tmp_path, "best")
    with pytest.raises(ArgumentError, match="'best' or 'last', got 'worst'"):
        chosen(tmp_path, "worst")  # type: ignore[arg-type]


def test_averaged_weights_that_are_the_best_are_meant(tmp_path: Path) -> None:
    trained(tmp_path, 2, ema=Ema(0.9, every=2))
    found, said = chosen(tmp_path)
    assert (averaged_in(found), "averaged weights 50.00 %" in said) == (True, True)
    assert not averaged_in(chosen(tmp_path, "last")[0])
    shutil.copy(tmp_path / BEST, tmp_path / "mine.safetensors")
    assert not averaged_in(chosen(tmp_path / "mine.safetensors")[0])


def test_a_disk_that_is_full_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch is the best only once it is written: the run may go on by itself."""
    made = trained(tmp_path, 1)
    before = what(tmp_path)

    def full(*_: Any) -> Path:
        raise CheckpointError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_best", full)
        with pytest.raises(CheckpointError, match="no room"):
            made.fit(training(), validation(), 2)
    assert what(tmp_path) == before
    assert next(c.best for c in made.callbacks if isinstance(c, KeepBest)) == before[1]


def test_of_a_run_of_0_1_0_nothing_is_known() -> None:
    assert best_in(checkpoint.State()) is None
    assert best_in(checkpoint.State(callbacks={"KeepBest": {"metric": 5}})) is None
