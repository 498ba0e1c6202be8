"""One run a folder: who has it is said, and a process that dies leaves it free."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minidl.files import lock
from minidl.files.lock import locked
from minidl.ir import ArgumentError
from minidl.train import Callback, Trainer
from tests.docs.pages import ROOT
from tests.train.small import compiled, training

HOLD = (
    "import sys, time; from pathlib import Path; from minidl.files.lock import locked\n"
    "with locked(Path(sys.argv[1])):\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)


def holding(folder: Path) -> subprocess.Popen[str]:
    """Another process that has the folder until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_other_is_named(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        host = socket.gethostname()
        words = rf"in use by another run: process {process.pid} on {host}, since \d{{4}}-"
        with pytest.raises(ArgumentError, match=words) as caught, locked(tmp_path):
            pass
        assert caught.value.message.startswith(str(tmp_path))
        assert "choose another folder" in caught.value.hint
        process.communicate()
    with locked(tmp_path) as why:
        assert why == ""
    assert not list(tmp_path.iterdir())


def test_a_killed_process_has_nothing(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path) as why:
        assert why == ""
    assert not (tmp_path / ".lock").exists()


def test_one_that_says_nothing_of_itself(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / ".lock").write_bytes(b"\xff")
        with pytest.raises(ArgumentError, match="does not say who"), locked(tmp_path):
            pass


def test_a_lock_that_was_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever had it removes its file while another opens it: that one tries anew."""
    right, calls = lock.fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:
            os.unlink(tmp_path / ".lock")
        right(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with locked(tmp_path) as why:
        assert why == ""
        assert len(calls) == 2
        with pytest.raises(ArgumentError), locked(tmp_path):
            pass


@pytest.mark.parametrize("number", lock.UNSUPPORTED)
def test_a_file_system_without_locks(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with locked(tmp_path) as why:
        assert why == os.strerror(number)


def test_other_errors_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path):
        pass


def test_a_system_without_flock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Windows: the run goes on, and says so."""
    monkeypatch.setattr(lock, "fcntl", None)
    Trainer(compiled(), quiet=True, output_dir=tmp_path).fit(training())
    assert capsys.readouterr().err == (
        f"minidl: {tmp_path} is not locked against other runs: this system has no flock\n"
    )


# -- runs ------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    """The second writes nothing, whether it begins or resumes; afterwards it may."""

    class Second(Callback):
        def on_epoch_end(self, trainer: Any) -> None:
            before = contents(tmp_path)
            with pytest.raises(ArgumentError, match="in use by another run: process"):
                self.other.fit(training(), epochs=9)
            assert contents(tmp_path) == before

    second = Second()
    second.other = Trainer(compiled(), quiet=True, output_dir=tmp_path)  # type: ignore[attr-defined]
    Trainer(compiled(), quiet=True, output_dir=tmp_path, callbacks=[second]).fit(training())
    before = contents(tmp_path)
    with pytest.raises(ArgumentError, match="has checkpoints of another run"):
        second.other.fit(training(), epochs=9)  # type: ignore[attr-defined]
    assert contents(tmp_path) == before
    Trainer(compiled(), quiet=True, output_dir=tmp_path, resume=tmp_path).fit(training(), epochs=2)


def test_a_run_that_went_on_meanwhile(tmp_path: Path) -> None:
    Trainer(compiled(), quiet=True, output_dir=tmp_path).fit(training())
    late, early = (
        Trainer(compiled(), quiet=True, output_dir=tmp_path, resume=tmp_path) for _ in range(2)
    )
    early.fit(training(), epochs=2)
    before = contents(tmp_path)
    with pytest.raises(ArgumentError, match="later checkpoints than checkpoint-00000006"):
        late.fit(training(), epochs=2)
    assert contents(tmp_path) == before


def test_leftovers_of_a_killed_run_are_swept_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / f".log.csv.{'0' * 16}.part"
    others = tmp_path / ".mine.part"
    for path in (left, others):
        path.touch()
    Trainer(compiled(), quiet=True, output_dir=tmp_path).fit(training())
    assert not left.exists()
    assert others.exists()
