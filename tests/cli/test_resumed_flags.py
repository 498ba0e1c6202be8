"""A flag at a resume acts, and says so, or is refused; places are kept whole; `~` is home."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from minidl.cli import COMMANDS, main
from minidl.cli.parser import Commands, flags, places, takes_path
from minidl.cli.values import path, place
from minidl.train import opened
from tests.cli.runs import SMALL, failed, run, trained
from tests.cli.test_runs import bits

__all__ = ["run"]


@pytest.fixture
def one(run: Path, tmp_path: Path) -> Path:
    """A run of one epoch."""
    how = ["--epochs", "1", "--lr-scheduler", "constant"]
    return trained(tmp_path, *how, data=run.parent / "photos", out="one")


ACTS = [
    ("--lr 0.5", "--lr 0.5 (was 0.02)"),
    ("--momentum 0.5", "--momentum 0.5 (was 0.9)"),
    ("--weight-decay 0.1", "--wd 0.1 (was 0.0005)"),
    ("--opt sgd_nesterov", "--opt sgd_nesterov (was sgd)"),
    ("--label-smoothing 0.2", "--label-smoothing 0.2 (was 0.0)"),
    ("--lr-scheduler cosine", "--lr-scheduler cosine (was constant)"),
    ("--no-augment", "--augment off (was on)"),
    ("--no-flip", "--flip off (was on)"),
    ("--mean 1,2,3", "--mean 1.0,2.0,3.0 (was none)"),
    ("--lr 0.5 --no-flip", "--flip off (was on), --lr 0.5 (was 0.02)"),
]


@pytest.mark.parametrize(("words", "said"), ACTS)
def test_a_flag_acts_and_is_said(
    words: str, said: str, one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(one, tmp_path / "other")
    assert main(["train", "--resume", str(other), "--epochs", "2"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", str(one), "--epochs", "2", *words.split()]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    prefix = "other flags than the run had: "
    assert out.startswith(prefix)
    listed = out.splitlines()[0].removeprefix(prefix).split(", ")
    assert sorted(listed) == sorted([*said.split(", "), "--epochs 2 (was 1)"])
    assert bits(one) != bits(other)


def test_the_rate_is_the_one_that_is_recorded(one: Path) -> None:
    assert main(["train", "--resume", str(one), "--epochs", "2", "--lr", "0.5"]) == 0
    with (one / "log.csv").open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.02, 0.5])
    asked = json.loads((one / "args.json").read_text())["arguments"]["flags"]
    assert asked["lr"] == 0.5
    state = opened(one).state
    assert state.learning_rate == np.float32(0.5)
    assert main(["train", "--resume", str(one), "--epochs", "3"]) == 0
    assert opened(one).state.learning_rate == np.float32(0.5)


def test_the_same_flags_say_nothing(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data-path", str(one.parent.parent / one.parent.name), *SMALL, "--epochs", "1"]
    flags_of_it = json.loads((one / "args.json").read_text())["arguments"]["flags"]
    data[1] = flags_of_it["data_path"]
    how = [*data, "--lr-scheduler", "constant", "--output-dir", str(one)]
    capsys.readouterr()
    assert main(["train", "--resume", "auto", *how]) == 0
    out, error = capsys.readouterr()
    assert error == ""
    assert "other flags" not in out


def test_a_seed_is_refused(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, error = failed(capsys, "train", "--resume", str(one), "--epochs", "2", "--seed", "3")
    assert (status, "--seed 3 (was 0): a run keeps what it began with: leave" in error) == (2, True)


def test_the_images_are_found_from_anywhere(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another data set of that name lies where the next command is given."""
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(run.parent / "photos", here / "photos")
    shutil.copytree(run.parent / "photos" / "c0", there / "photos" / "c0")
    monkeypatch.chdir(here)
    how = ["train", "--data-path", "photos", *SMALL, "--epochs", "1", "--output-dir", "run"]
    assert main(how) == 0
    monkeypatch.chdir(there)
    capsys.readouterr()
    assert main(["train", "--resume", str(here / "run"), "--epochs", "2"]) == 0
    assert opened(here / "run").state.epoch == 2
    for weights in (["--run", "run"], ["--weights", "run/weights.safetensors"]):
        weights[1] = str(here / weights[1])
        assert main(["eval", *weights, "-j", "0", "--split", "all"]) == 0
        assert "24 images" in capsys.readouterr().out


def test_home_in_a_file_is_no_folder_of_that_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run.parent / "photos", home / "photos")
    (tmp_path / "c.toml").write_text('data-path = "~/photos"\n[train]\noutput-dir = "~/run"\n')
    flags_of_it = [f for f in SMALL if f not in ("-j", "0")]
    assert main(["train", "--config", "c.toml", *flags_of_it, "-j", "0", "--epochs", "1"]) == 0
    assert (home / "run" / "args.json").exists()
    assert main(["train", "--resume=~/run", "--epochs", "2"]) == 0
    assert opened(home / "run").state.epoch == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.toml", "home"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_place_is_read_so(command: str) -> None:
    parser: argparse.ArgumentParser = Commands(COMMANDS).by_name[command]
    for action in (*flags(parser), *places(parser)):
        if takes_path(action) or action.metavar in ("IMAGE", "CSV"):
            assert action.type in (path, place), action.dest


def test_a_home_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    status, error = failed(capsys, "train", "--output-dir", "~nobody-of-that-name/run")
    assert (status, "--output-dir: ~nobody-of-that-name/run" in error) == (2, True)
