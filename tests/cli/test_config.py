"""Flags from a file and from a run: which wins, and what is refused."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from minidl.cli import COMMANDS
from minidl.cli.call import complete
from minidl.cli.parser import Commands
from minidl.ir import ArgumentError
from tests.cli.runs import run, trained

__all__ = ["run"]


def options(*arguments: str) -> argparse.Namespace:
    commands = Commands(COMMANDS)
    return complete(commands.parse(arguments), commands, arguments)


def config(folder: Path, text: str) -> str:
    file = folder / "run.toml"
    file.write_text(text)
    return str(file)


def test_flags_win_over_a_table_and_a_table_over_the_rest(tmp_path: Path) -> None:
    file = config(
        tmp_path, "lr = 1\nepochs = 3\nbatch_size = 7\n[train]\nlr = 2.5\n[eval]\ntop = 1"
    )
    with pytest.raises(ArgumentError, match=r"run\.toml: unknown key 'top'"):
        options("train", "--config", file)
    file = config(tmp_path, "lr = 1\nepochs = 3\nbatch_size = 7\n[train]\nlr = 2.5\n[plan]\nlr = 3")
    made = options("train", "--config", file, "--epochs", "4")
    assert (made.lr, made.epochs, made.batch_size) == (2.5, 4, 7)
    assert options("plan", "--config", file).lr == 3
    assert options("eval", "--config", file).batch_size == 7


def test_every_kind_of_value(tmp_path: Path) -> None:
    text = """
    amp = true
    flip = false
    budget = "8GiB"
    lr-milestones = [3, 5]
    mean = [1.5, 2, 3]
    without = ["tail", "slices"]
    weights = "w.pth"
    wd = 0.1
    """
    known = Commands(COMMANDS).by_name["plan"]
    passes = next(a.choices for a in known._actions if a.dest == "disable_passes")
    names = list(passes or [])[:2]
    made = options(
        "train", "--config", config(tmp_path, text.replace('"tail", "slices"', str(names)[1:-1]))
    )
    assert made.amp is True
    assert made.flip is False
    assert made.budget == 8 * 2**30
    assert made.lr_milestones == (3, 5)
    assert made.mean == (1.5, 2.0, 3.0)
    assert made.disable_passes == names
    assert made.weights == Path("w.pth")
    assert made.weight_decay == 0.1


def test_a_switch_is_taken_back(tmp_path: Path) -> None:
    file = config(tmp_path, "plot = true")
    assert options("train", "--config", file).plot
    assert not options("train", "--config", file, "--no-plot").plot


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning-rate = 1", ["unknown key 'learning-rate'"]),
        ("momentun = 1", ["unknown key 'momentun'", "did you mean --momentum?"]),
        ("[trian]\nlr = 1", ["no command [trian]", "did you mean train?"]),
        ("lr = ", ["no TOML"]),
        ('lr = "fast"', ["lr: 'fast'"]),
        ("amp = 1", ["amp: must be true or false"]),
        ("lr = true", ["lr: True"]),
        ('model = "alexnett"', ["'alexnett'", "alexnet"]),
        ("epochs = 0", ["epochs: 0: must be at least 1"]),
        ('config = "other.toml"', ["unknown key 'config'"]),
    ],
)
def test_what_is_refused_names_the_file_and_the_key(
    text: str, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError) as error:
        options("train", "--config", config(tmp_path, text))
    assert all(word in str(error.value) for word in ["--config", "run.toml", *words])


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"none\.toml: No such file"):
        options("train", "--config", str(tmp_path / "none.toml"))


def test_a_run_that_is_resumed_gives_its_flags_below_the_file(run: Path, tmp_path: Path) -> None:
    made = options("train", "--resume", str(run))
    assert (made.model, made.batch_size, made.lr, made.epochs) == ("lenet", 4, 0.02, 2)
    file = config(tmp_path, "epochs = 5\nlr = 0.1")
    made = options("train", "--resume", str(run), "--config", file, "--lr", "0.3")
    assert (made.model, made.lr, made.epochs) == ("lenet", 0.3, 5)


def test_the_file_is_named_in_the_runs_arguments(tmp_path: Path) -> None:
    file = config(tmp_path, "epochs = 1\nlr-warmup-epochs = 1")
    where = trained(tmp_path, "--config", file)
    flags = json.loads((where / "args.json").read_text())["arguments"]["flags"]
    assert flags["config"] == file
    assert (flags["epochs"], flags["lr_warmup_epochs"]) == (1, 1)
