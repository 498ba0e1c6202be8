"""Whatever becomes of what a run shows, and whichever signal ends it, it is saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from minidl.cli import main
from minidl.train import checkpoint
from minidl.train.progress import Progress
from tests.cli.runs import SMALL, failed, photos, run, trained
from tests.cli.test_runs import WEIGHTS, bits
from tests.docs.pages import ROOT

__all__ = ["run"]

EPOCHS = ["--epochs", "2", "--print-freq", "2"]


MAIN = """
import sys
from minidl import cli, console
console.PATIENCE = 3600.0  # lines on waits depend on how busy the machine is
sys.exit(cli.main())
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", MAIN, *arguments]


@contextmanager
def given(kind: str) -> Iterator[int | IO[bytes]]:
    """A stream that nobody reads, a full disk, and one that is read."""
    if kind == "pipe":
        read, write = os.pipe()
        os.close(read)
        yield write
        os.close(write)
    elif kind == "full":
        with open("/dev/full", "wb") as file:
            yield file
    else:
        yield subprocess.PIPE


@pytest.mark.parametrize(
    ("out", "err", "said"),
    [
        ("pipe", "read", "standard output is lost (Broken pipe)"),
        ("full", "read", "standard output is lost (No space left on device)"),
        ("read", "full", ""),
        ("full", "pipe", ""),
    ],
)
def test_a_run_ends_well(out: str, err: str, said: str, run: Path, tmp_path: Path) -> None:
    where = tmp_path / "run"
    data = ["--data-path", str(run.parent / "photos"), *SMALL, "--output-dir", str(where)]
    with given(out) as stdout, given(err) as stderr:
        done = subprocess.run(
            command("train", *data, *EPOCHS), cwd=ROOT, stdout=stdout, stderr=stderr, text=True
        )
    assert done.returncode == 0
    assert bits(where) == bits(run)
    expected = f"minidl: {said}: nothing more is shown there\n" if said else ""
    assert (done.stderr or "") == expected


@pytest.mark.parametrize(("kind", "status", "said"), [
    ("pipe", 1, ""),
    ("full", 1, "minidl plan: error: standard output: No space left on device\n"),
])  # fmt: skip
def test_a_result_that_is_lost_is_an_error(kind: str, status: int, said: str) -> None:
    with given(kind) as stdout:
        done = subprocess.run(
            command("plan", "--model", "lenet"),
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (status, said)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_signal_saves_and_goes_on(
    name: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = signal.Signals[name]

    def send(self: Progress, trainer: Any) -> None:
        if trainer.steps == 7:
            signal.raise_signal(number)

    stopped = tmp_path / "stopped"
    how = ["--data-path", str(run.parent / "photos"), *SMALL, "--epochs", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_step_end", send)
        status, error = failed(capsys, "train", *how, "--output-dir", str(stopped))
    assert status == 128 + number
    word = "interrupted" if name == "SIGINT" else name
    assert error == (
        f"minidl train: {word}: saved {stopped / 'checkpoint-00000007.safetensors'}; "
        f"go on with: minidl train --resume {stopped}\n"
    )
    assert main(["train", "--resume", str(stopped)]) == 0
    assert bits(stopped) == bits(run)


def test_a_process_that_is_told_to_end(run: Path, tmp_path: Path) -> None:
    """As a scheduler does it, with workers."""
    where = tmp_path / "run"
    data = ["--data-path", str(run.parent / "photos"), *SMALL, "-j", "1", "--epochs", "999999"]
    process = subprocess.Popen(
        command("train", *data, "--output-dir", str(where)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while not process.stdout.readline().startswith("epoch 2/"):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    last = checkpoint.found(where)[-1]
    assert f"SIGTERM: saved {last}" in error
    assert checkpoint.read(last)[1].steps >= 10


def test_an_image_that_breaks_the_validation_loses_no_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = photos(tmp_path)
    (data / "train").mkdir()
    for name in ("c0", "c1", "c2"):
        (data / name).rename(data / "train" / name)
        source = next((data / "train" / name).iterdir())
        (data / "val" / name).mkdir(parents=True)
        (data / "val" / name / source.name).write_bytes(source.read_bytes())
    whole = trained(tmp_path, "--epochs", "2", data=data, out="whole")
    image = next((data / "val" / "c1").iterdir())
    raw = image.read_bytes()
    image.write_bytes(b"no image")
    where = tmp_path / "run"
    how = ["train", "--data-path", str(data), *SMALL, "--epochs", "2", "--output-dir", str(where)]
    status, error = failed(capsys, *how)
    last = where / "checkpoint-00000006.safetensors"
    assert (status, image.name in error) == (1, True)
    assert error.endswith(f"; epoch 1 is saved: {last}\n")
    image.write_bytes(raw)
    assert main(["train", "--resume", str(where)]) == 0
    assert bits(where, WEIGHTS) == bits(whole, WEIGHTS)
    rows, expected = ((f / "log.csv").read_text().splitlines() for f in (where, whole))
    assert [r.split(",")[:7] for r in rows] == [r.split(",")[:7] for r in expected]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_what_is_said_at_ctrl_c_stands_in_lines_of_its_own(run: Path, tmp_path: Path) -> None:
    """On a terminal, with a bar drawn: no part of the bar is in it, nor erases it later."""
    import pty

    where = tmp_path / "run"
    data = ["--data-path", str(run.parent / "photos"), *SMALL, "--epochs", "999999"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("train", *data, "--output-dir", str(where)),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "300"},
    )
    os.close(theirs)
    shown, sent = b"", False
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        shown += part
        if not part:
            break
        if not sent and b"loss=" in shown:
            process.send_signal(signal.SIGINT)
            sent = True
    os.close(ours)
    assert process.wait(60) == 130
    lines = shown.decode().replace("\r\n", "\n").split("\n")
    (said,) = (line for line in lines if "interrupted" in line)
    visible = said.rpartition("\r")[2]
    assert visible.startswith(f"minidl train: interrupted: saved {where}")
    assert visible.endswith(f"minidl train --resume {where}")
