"""What a disk and an operating system do to a checkpoint: full, read-only, killed."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import minidl as dl
from minidl.files import atomic, safetensors
from minidl.ir import CheckpointError
from minidl.train import State, checkpoint, latest, load, save
from tests.train.small import compiled, training
from tests.training import state_bits

ROOT = Path(__file__).parents[2]
KILLS = 50


def refused(folder: Path, words: str) -> None:
    """A save that fails: says why in a line, and changes neither folder nor step."""
    step = compiled()
    before, files = state_bits(step), contents(folder)
    with pytest.raises(CheckpointError, match=words) as caught:
        save(folder, step, State(steps=2), keep=1)
    assert "\n" not in str(caught.value)
    assert "checkpoint-00000002" in str(caught.value)
    assert state_bits(step) == before
    assert contents(folder) == files
    path = latest(folder)
    assert path is not None
    assert load(path, step).steps == 1


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB with a checkpoint on it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        save(folder, compiled(), State(steps=1))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 4096))
    refused(small_disk, "not saved: No space left on device; the checkpoints before it are")


def test_a_disk_that_became_read_only(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(small_disk, "not saved: Read-only file system")


def test_a_limit_on_file_sizes(tmp_path: Path) -> None:
    save(tmp_path, compiled(), State(steps=1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        refused(tmp_path, "not saved: File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("what", ["fsync", "replace", "flush_folder"])
def test_a_call_that_fails(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, compiled(), State(steps=1))

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    where = {"fsync": os, "replace": os, "flush_folder": atomic}[what]
    monkeypatch.setattr(where, what, fail)
    if what != "flush_folder":
        refused(tmp_path, "not saved: Input/output error")
        return
    with pytest.raises(CheckpointError, match="Input/output error"):
        save(tmp_path, compiled(), State(steps=2), keep=1)
    assert [checkpoint.steps_of(p) for p in checkpoint.found(tmp_path)] == [1, 2]


def test_bytes_that_do_not_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, compiled(), State(steps=1))
    right = safetensors._pieces

    def wrong(*what: object) -> Iterator[bytes]:
        pieces = [bytes(piece) for piece in right(*what)]  # type: ignore[arg-type]
        yield from pieces[:-1]
        yield bytes(len(pieces[-1]) - 1) + b"\1"

    monkeypatch.setattr(safetensors, "_pieces", wrong)
    refused(tmp_path, "reads back as something else")


def test_a_folder_without_leave_to_write() -> None:
    with tempfile.TemporaryDirectory() as name:  # every folder above it is open to all
        folder, user = Path(name), os.geteuid()
        save(folder, compiled(), State(steps=1))
        folder.chmod(0o555)
        try:
            if user == 0:  # root may write everywhere, nobody may not
                os.seteuid(65534)
            refused(folder, "not saved: Permission denied")
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(CheckpointError, match="not saved"):
        save(tmp_path / "run", compiled(), State(steps=2))


def test_killed_at_any_moment_a_folder_loads(tmp_path: Path) -> None:
    """Kills come later while none has let a save end: the machine may be busy."""
    generator, within = random.Random(2016), 0.06
    step, steps, unfinished = compiled(), 0, 0
    command = [sys.executable, "-m", "tests.train.killed", str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for kill in range(KILLS):
            delay = generator.uniform(0, within)
            print(f"{delay:.6f}", file=process.stdin, flush=True)
            said = int(process.stdout.readline())
            print(f"kill {kill}: {1000 * delay:.1f} ms, saved {said}")
            unfinished += any(tmp_path.glob(".checkpoint-*"))
            before, steps = steps, checked(tmp_path, step, max(said, steps))
            within = max(0.06, within / 1.1) if steps > before else min(5, within * 1.1)
        process.stdin.close()
    print(f"{unfinished} of {KILLS} left an unfinished file")
    assert steps > 0
    assert state_bits(step) == state_bits(never_killed(steps))
    save(tmp_path, step, State(steps=steps + 1), keep=2)  # and removes what kills had it leave
    assert [checkpoint.steps_of(p) for p in checkpoint.found(tmp_path)][-1:] == [steps + 1]
    assert len(checkpoint.found(tmp_path)) == 2


def checked(folder: Path, step: dl.Step, least: int) -> int:
    """Load the last checkpoint, of step `least` or later, and read all others; its step."""
    path = latest(folder)
    found = 0 if path is None else load(path, step).steps
    assert found >= least
    files = checkpoint.found(folder)
    for file in files:
        checkpoint.read(file)
    return found


def never_killed(steps: int) -> dl.Step:
    step, batches = compiled(), list(training().epoch(0))
    for i in range(1, steps + 1):
        step(*batches[i % len(batches)])
    return step
