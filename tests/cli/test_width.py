"""What people read ends at the terminal's width; in a file or a pipe a line stays a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minidl.cli import COMMANDS, main
from minidl.console import fitted, wrapped
from tests.cli.runs import SMALL, run

__all__ = ["run"]

HELP = [[command, "--help"] for command in COMMANDS]

PRINTS = [
    "plan --model lenet -b 4 --device cuda --summary --explain --gpu-memory 64MiB",
    "plan --model lenet -b 4 --slices 2 --recompute 0.01 --accumulate 2 --ablate",
    "compare --model lenet -b 4 --classes 10 --steps 1",
    "eval --run run -j 0 --confusion confusion.csv",
    "predict --run run photos/c0/0.jpg photos/c1/1.PNG",
    "export --run run --safetensors w.safetensors",
    "about",
]


def lines(out: str) -> list[str]:
    """Lines but those of one word, which is nowhere broken."""
    return [line for line in out.splitlines() if len(line.split()) > 1]


@pytest.fixture
def here(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the run and its images by short names."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "photos"):
        os.symlink(run.parent / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("words", [["--help"], *HELP], ids=" ".join)
def test_help(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for columns in ("80", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        with pytest.raises(SystemExit):
            main(words)
        assert max(map(len, capsys.readouterr().out.splitlines())) <= int(columns)


@pytest.mark.parametrize("words", PRINTS)
def test_what_a_command_prints(
    words: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(words.split()) == 0
    found = capsys.readouterr()
    assert all(line.startswith("minidl: weights of epoch ") for line in found.err.splitlines())
    assert lines(found.out)
    assert max(map(len, lines(found.out))) <= 80


def test_what_a_run_prints(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    how = ["--data-path", "photos", *SMALL, "--epochs", "1", "--print-freq", "2", "--model-ema"]
    assert main(["train", *how]) == 0
    printed = lines(capsys.readouterr().out)
    assert max(map(len, printed)) <= 80
    assert sum(line.startswith("epoch 1/1  ") for line in printed) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("short", "short"),
        ("a prose line of words", "a prose line of\n    words"),
        ("name    12  some words here", "name    12  some\n            words\n            here"),
        ("arena: one two three four", "arena: one two\n       three\n       four"),
        ("a/very/long/path/without/a/gap", "a/very/long/path/without/a/gap"),
        ("-" * 40, "-" * 16),
        ("the arena has 31.78 MiB", "the arena has\n    31.78 MiB"),
        ("right in 100.00 %", "right in\n    100.00 %"),
        (f"{30 * ' '}left of it", f"{8 * ' '}left of\n        it"),
        (f"{30 * ' '}left", f"{8 * ' '}left"),
        ("data  6 images  top-1 50 %", "data  6 images\n      top-1 50 %"),
        ("a  6 images  top-5 50.00 %", "a  6 images\n   top-5 50.00 %"),
        ("", ""),
    ],
)
def test_words_stay_whole(line: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "16")
    assert wrapped(line) == said
    assert wrapped(f"{line}\n{line}") == f"{said}\n{said}"


def test_a_line_in_a_pipe_stays_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "words " * 40
    monkeypatch.delenv("COLUMNS", raising=False)
    assert fitted(line) == line
    monkeypatch.setattr("minidl.console.OUTPUT.is_terminal", lambda: True)
    assert fitted(line) == wrapped(line) != line


def test_an_error_is_one_line_but_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["eval"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    monkeypatch.setattr("minidl.console.ERRORS.is_terminal", lambda: True)
    assert main(["eval"]) == 2
    shown = capsys.readouterr().err
    assert shown.split() == error.split()
    assert max(map(len, shown.splitlines())) <= 40
