"""Which images are measured, and by what name: of runs, resumed ones, and those of 0.1.0."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from minidl.cli import COMMANDS, main
from minidl.cli.parser import Commands
from minidl.cli.train import _take_constants
from minidl.interop import read_weights, save_weights
from minidl.predict import Predictor
from minidl.train import checkpoint, checkpoint_file
from tests.cli.runs import SMALL, failed, photos, run, trained
from tests.data.images import folder_of

__all__ = ["run"]


def of_0_1_0(run: Path, folder: Path) -> Path:
    """The run as 0.1.0 would have kept it: nothing says how images were held out."""
    shutil.copytree(run, folder)
    (folder / checkpoint.BEST).unlink()
    for path in checkpoint.found(folder):
        tensors, words = checkpoint_file.read(path)
        state = json.loads(words)
        del state["arguments"]["about"]["held_out"], state["data"], state["callbacks"]["KeepBest"]
        checkpoint_file.write(path, tensors, json.dumps(state))
    weights = read_weights(folder / "weights.safetensors")
    about = {"about": state["arguments"]["about"], "flags": state["arguments"]["flags"]}
    save_weights(folder / "weights.safetensors", weights, {"minidl": json.dumps(about)})
    return folder


@pytest.mark.parametrize("version", ["0.1.0", "now"])
@pytest.mark.parametrize(
    "command",
    [
        "train --resume RUN --epochs 3",
        "train --test-only --resume RUN",
        "train --test-only --weights RUN/weights.safetensors --data-path DATA --seed 5",
        "eval --run RUN",
        "eval --weights RUN/weights.safetensors",
        "eval --run RUN --data-path DATA",
    ],
)
def test_what_a_run_held_out_stays_held_out(
    command: str, version: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "run"
    if version == "now":
        shutil.copytree(run, where)
    else:
        of_0_1_0(run, where)
    words = command.replace("RUN", str(where)).replace("DATA", str(run.parent / "photos")).split()
    if "--test-only" in words and "--weights" in words:
        words += SMALL
    capsys.readouterr()
    assert main([*words, "-j", "0"]) == 0
    out = capsys.readouterr().out
    how = "permutation 0" if version == "0.1.0" else "hash 0"
    sizes = "22 train, 2 held-out" if version == "0.1.0" else "20 train, 4 held-out"
    assert f"{sizes} (about one in ten, by {how.replace(' ', ', seed ')})" in out
    assert str(Predictor.load(where).images().held_out) == how


def test_the_splits_measured_are_those_that_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for split, each in (("train", 6), ("Val", 2), ("testing", 3)):
        folder_of(data / split, classes=3, each=each)
    where = trained(tmp_path, "--epochs", "1", data=data)
    out = capsys.readouterr().out
    assert "33 images in 3 classes (c0, c1, c2): 18 train, 6 val, 9 test" in out
    assert "  val accuracy " in out
    assert "test accuracy" not in out
    flags = ["--run", str(where), "-j", "0"]
    for split, count in (("val", 6), ("test", 9), ("train", 18), ("all", 33), (None, 9)):
        asked = [] if split is None else ["--split", split]
        assert main(["eval", *flags, *asked]) == 0
        said = f"data {split or 'test'}  {count} images  loss"
        assert said in capsys.readouterr().out
    status, error = failed(capsys, "eval", *flags, "--split", "held-out")
    assert status == 2
    assert "no split 'held-out' in it: choose from train, val, test, all" in error


def test_val_is_measured_as_val(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    for split in ("train", "valid"):
        folder_of(data / split, classes=3, each=4)
    where = trained(tmp_path, "--epochs", "1", data=data)
    capsys.readouterr()
    flags = ["--run", str(where), "-j", "0"]
    assert main(["eval", *flags]) == 0
    assert "data val  12 images" in capsys.readouterr().out
    assert failed(capsys, "eval", *flags, "--split", "test")[0] == 2


@pytest.mark.parametrize(
    ("model", "flags", "mean"),
    [
        ("googlenet", [], (127.5,) * 3),
        ("googlenet", ["--mean", "1", "--std", "2"], (1.0,)),
        ("resnet18", [], None),
    ],
)
def test_published_weights_bring_their_constants(
    model: str, flags: list[str], mean: object, tmp_path: Path
) -> None:
    """As flags, so that a run keeps them."""
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": np.zeros(1)})
    words = ["train", "--model", model, "--weights", str(path), *flags]
    options = Commands(COMMANDS).parse(words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _take_constants(options)
    assert options.mean == mean


@pytest.mark.parametrize(
    "how",
    [
        "eval --run RUN --broken skip",
        "train --test-only --resume RUN --data-path DATA --broken skip",
    ],
)
def test_a_broken_image_is_not_measured_nor_is_another_twice(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for split in ("train", "val"):
        folder_of(data / split, classes=2, each=6)
    where = trained(tmp_path, "--epochs", "1", data=data)
    broken = data / "val" / "c0" / "0.jpg"
    whole, table = broken.read_bytes(), tmp_path / "c.csv"
    broken.write_bytes(whole[:100])
    words = how.replace("RUN", str(where)).replace("DATA", str(data)).split()
    capsys.readouterr()
    assert main([*words, "-j", "0", "--confusion", str(table)]) == 0
    out, err = capsys.readouterr()
    said, left = "data val  11 images", " (1 left out: they cannot be decoded)"
    assert f"{said}{left}  loss" in out
    assert err.count("skipped: ") == 1
    rows = [list(map(int, line.split(",")[1:])) for line in table.read_text().splitlines()[1:]]
    assert [sum(row) for row in rows] == [5, 6]
    broken.unlink()
    assert main([*words, "-j", "0"]) == 0
    assert out.splitlines()[1].replace(left, "") == capsys.readouterr().out.splitlines()[1]


def test_a_held_out_split_is_called_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, "--epochs", "1", data=photos(tmp_path))
    assert "  held-out accuracy " in capsys.readouterr().out
