"""Whoever reads a path finds the old file or the new one, whatever the disk does meanwhile."""

from __future__ import annotations

import csv
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.cli import main
from minidl.devices import cubins
from minidl.files import atomic
from minidl.files.atomic import append_line, sweep, unfinished, write_atomically, write_text
from minidl.files.tables import append_row, write_table
from minidl.interop import export_onnx, save_weights
from minidl.train import History, Log, Report
from minidl.train.history import Epoch
from minidl.train.png import write_png


@pytest.mark.parametrize("size", [0, 1, 10_000])
@pytest.mark.parametrize("pieces", [False, True])
def test_what_is_written_is_read(size: int, pieces: bool, tmp_path: Path) -> None:
    data = np.random.default_rng(size).bytes(size)
    given: Any = (memoryview(data[i : i + 7]) for i in range(0, size, 7)) if pieces else data
    (tmp_path / "file").write_bytes(b"old")
    write_atomically(tmp_path / "file", given)
    assert (tmp_path / "file").read_bytes() == data
    assert os.listdir(tmp_path) == ["file"]


def test_a_check_that_fails_stops_the_rename(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def refuse(part: Path) -> None:
        assert part.read_text() == "new"
        raise ValueError("not right")

    with pytest.raises(ValueError, match="not right"):
        write_atomically(path, b"new", check=refuse)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_pieces_that_fail_leave_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")

    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", pieces())
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_names_the_path_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "nowhere" / "file", "new")
    assert caught.value.filename == str(tmp_path / "nowhere" / "file")
    with pytest.raises(IsADirectoryError) as folder:
        write_text(tmp_path, "new")
    assert folder.value.filename == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_as_long_as_file_systems_allow(tmp_path: Path) -> None:
    path = tmp_path / ("\N{SNOWMAN}" * 85)
    write_text(path, "new")
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="modes and pipes are POSIX's")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_text(path, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_link_at_the_unfinished_files_name_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where somebody had guessed its sixteen digits."""
    path, target = tmp_path / "plan.json", tmp_path / "elsewhere"
    target.write_text("old")
    first, second = unfinished(path), unfinished(path)
    assert first != second
    assert len(first.name) >= len(".plan.json.part") + 16
    monkeypatch.setattr(atomic, "unfinished", lambda _: first)
    first.symlink_to(target)
    with pytest.raises(FileExistsError, match=r"plan\.json"):
        write_text(path, "new")
    assert (target.read_text(), path.exists(), first.is_symlink()) == ("old", False, True)


def test_leftovers_are_swept_by_the_start_of_their_name(tmp_path: Path) -> None:
    left = [unfinished(tmp_path / name) for name in ("run-1.txt", "run-2.txt", "other.txt")]
    assert len({unfinished(tmp_path / "run-1.txt") for _ in range(9)}) == 9
    for path in left:
        path.touch()
    sweep(tmp_path, "run-")
    assert list(tmp_path.iterdir()) == left[2:]


def test_a_table_grows_by_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(path, [["name", "value"]])
    append_row(path, ["a,b", 0.1])
    append_row(path, ['"', None])
    append_line(path, "cut off")
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["name", "value"], ["a,b", "0.1"], ['"', ""], ["cut off"]]


# -- everything that writes ------------------------------------------------------------------------

NET = dl.models.lenet(classes=3, image=(28, 28, 1))
HISTORY = History([Epoch(epoch=1, steps=4, loss=0.5, learning_rate=0.1)])


def run(folder: Path) -> Any:
    """As much of a trainer as callbacks that write look at."""
    found = SimpleNamespace(confusion=np.eye(3, dtype=int), top1=1.0)
    step = SimpleNamespace(plan=dl.plan(NET, 2))
    run_of = {"output_dir": folder, "arguments": {}, "step": step, "history": HISTORY}
    return SimpleNamespace(**run_of, steps=0, stop="", evaluation=found)


def report(folder: Path) -> None:
    page = Report()
    page.on_fit_begin(run(folder))
    page.on_epoch_end(run(folder))


def placed(folder: Path) -> None:
    (folder.parent / "blocks.csv").write_text("id,lower,upper,size\na,0,1,8\n")
    assert main(["place", str(folder.parent / "blocks.csv"), "--out", str(folder / "f")]) == 0


def planned(*flags: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        assert main(["plan", "--model", "lenet", "-b", "2", *flags, str(folder / "f")]) == 0

    return write


def traced(folder: Path) -> None:
    step = dl.compile(NET, 2)
    step.trace(folder / "f", np.zeros((2, 28, 28, 1), "f4"), np.zeros(2, int))


WRITERS: dict[str, Callable[[Path], object]] = {
    "plan file": planned("--json"),
    "page": planned("--html"),
    "drawing": planned("--png"),
    "snapshot": planned("--snapshot"),
    "placement": placed,
    "trace": traced,
    "weights": lambda folder: save_weights(folder / "f", {"a": np.zeros(3)}),
    "onnx": lambda folder: export_onnx(NET, dl.compile(NET, 1), folder / "f"),
    "kernel": lambda folder: cubins.write(folder, "f", b"code"),
    "arguments": lambda folder: Log().on_fit_begin(run(folder)),
    "confusion": lambda folder: Log().write_confusion(run(folder)),
    "report": report,
    "curves": lambda folder: write_png(HISTORY, folder / "f"),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_disk_that_fails_leaves_what_was_there(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    WRITERS[what](folder)
    old = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert old
    for path in folder.iterdir():
        path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        try:
            WRITERS[what](folder)
        except (OSError, AssertionError):  # a command says it, and fails
            failed = True
        else:
            failed = False
    assert failed
    assert {path.read_bytes() for path in folder.iterdir()} == {b"old"}
    assert sorted(old) == sorted(path.name for path in folder.iterdir())
    WRITERS[what](folder)
    assert b"old" not in {path.read_bytes() for path in folder.iterdir()}
