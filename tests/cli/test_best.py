"""The best checkpoint on the command line: kept, told of, taken, and passed by."""

from __future__ import annotations

from pathlib import Path

import pytest

import minidl as dl
from minidl.cli import main
from minidl.interop import read_weights
from minidl.ir import ArgumentError
from minidl.predict import Predictor
from minidl.train import checkpoint
from minidl.train.best import best_in
from minidl.train.checkpoint import BEST
from tests.cli.runs import SMALL, failed, photos, trained

EPOCHS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By a metric that goes up and down: a rate that is too high for the loss to fall."""
    how = ["--epochs", str(EPOCHS), "--lr", "0.2", "--lr-scheduler", "constant"]
    return trained(tmp_path_factory.mktemp("best"), *how, "--keep-best", "val_loss")


@pytest.fixture
def image(run: Path) -> Path:
    return sorted((run.parent / "photos" / "c1").iterdir())[0]


def predictions(
    capsys: pytest.CaptureFixture[str], image: Path, run: Path, *flags: str
) -> tuple[str, str]:
    """What is answered, and what is said on standard error."""
    capsys.readouterr()
    assert main(["predict", "--run", str(run), *flags, str(image)]) == 0
    out, err = capsys.readouterr()
    return out, err


def test_it_is_taken_and_said(run: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = checkpoint.read(run / BEST)[1]
    losses = [row["val_loss"] for row in checkpoint.read(checkpoint.found(run)[-1])[1].history]
    assert state.epoch == 1 + min(range(EPOCHS), key=losses.__getitem__)
    words = f"epoch {state.epoch} of {EPOCHS}, the best by held-out loss {min(losses):.4f}"
    best, said = predictions(capsys, image, run)
    assert said == f"minidl: weights of {words}; --checkpoint last takes the last\n"
    assert predictions(capsys, image, run, "--checkpoint", "best") == (
        best,
        f"minidl: weights of {words}\n",
    )
    last, said = predictions(capsys, image, run, "--checkpoint", "last")
    assert said == f"minidl: weights of epoch {EPOCHS}\n"
    for path, expected in ((run / BEST, best), (checkpoint.found(run)[-1], last)):
        assert predictions(capsys, image, path) == (expected, "")
    weights = run.parent / "best.safetensors"
    for command in (["eval", "-j", "0"], ["export", "--safetensors", str(weights)]):
        assert main([command[0], "--run", str(run), *command[1:]]) == 0
        assert f"minidl: weights of {words};" in capsys.readouterr().err
    loaded = Predictor.load(run).step.state_dict()
    assert {n: a.tobytes() for n, a in read_weights(weights).items()} == {
        n: a.tobytes() for n, a in loaded.items()
    }


def test_the_run_says_at_its_end_which_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = trained(tmp_path, "--epochs", "1")
    best = best_in(checkpoint.read(where / BEST)[1])
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"epoch 1 is {best}: {where / BEST}"
    assert main(["train", "--resume", str(where)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "finished: all 1 epochs are done; more epochs (--epochs) train longer" in lines
    assert lines[-1] == said


def test_off(run: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = run.parent / "photos"
    where = trained(tmp_path, "--epochs", "1", "--keep-best", "off", data=data)
    assert not (where / BEST).exists()
    said = predictions(capsys, image, where)[1]
    assert said == "minidl: weights of epoch 1, the last one: no best is kept\n"
    for how, status, words in (
        (["--run", str(where), "--checkpoint", "best"], 1, "--checkpoint last takes the last one"),
        (["--weights", str(where / "weights.safetensors"), "--checkpoint", "last"], 2, "no run's"),
        (["--run", str(where), "--checkpoint", "worst"], 2, "best, last"),
    ):
        found, error = failed(capsys, "predict", *how, str(image))
        assert (found, words in error) == (status, True), error


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--keep-best", "top1"], "--keep-best needs --output-dir"),
        (
            ["--keep-best", "ema_top1", "--output-dir", "OUT"],
            "--keep-best ema_top1 needs --model-ema",
        ),
        (["--keep-best", "accuracy", "--output-dir", "OUT"], "'accuracy'"),
    ],
)
def test_what_cannot_be(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [flag.replace("OUT", str(tmp_path / "run")) for flag in flags]
    status, error = failed(capsys, "train", *flags)
    assert (status, words in error) == (2, True), error
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_refused_before_anybody_waits_for_a_plan(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dl, "compile", None)
    data = ["--data-path", str(run.parent / "photos"), *SMALL]
    status, error = failed(capsys, "train", *data, "--output-dir", str(run))
    assert (status, f"{run} has checkpoints of another run" in error) == (2, True)


def test_averaged_weights_are_taken_where_they_are_the_best(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = trained(tmp_path, "--epochs", "1", "--model-ema", "--model-ema-steps", "2")
    out, said = predictions(capsys, image, where)
    assert "the best by held-out accuracy of the averaged weights" in said
    assert out == predictions(capsys, image, where, "--model-ema", "--checkpoint", "last")[0]
    own = predictions(capsys, image, where, "--no-model-ema")[0]
    assert own == predictions(capsys, image, where, "--checkpoint", "last")[0] != out
    assert Predictor.load(where).trained.averaged
    assert not Predictor.load(where, checkpoint="last").trained.averaged
    with pytest.raises(ArgumentError, match="this is no run's folder"):
        Predictor.load(where / "weights.safetensors", checkpoint="best")


def test_a_file_of_flags_and_the_resumed_run_say_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.toml"
    config.write_text('keep-best = "val_loss"\n')
    data = photos(tmp_path)
    where = trained(tmp_path, "--epochs", "1", "--config", str(config), data=data)
    assert main(["train", "--resume", str(where), "--epochs", "2"]) == 0
    found = best_in(checkpoint.read(where / BEST)[1])
    assert found is not None
    assert found.metric == "val_loss"
    assert "is the best by held-out loss" in capsys.readouterr().out
