"""What a result says of where it comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.gpu.about import commit


def test_the_commit_of_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tree itself, wherever it lies; a tree without git is not called unchanged."""
    monkeypatch.delenv("MINIDL_COMMIT", raising=False)
    inner = tmp_path / "tree"
    inner.mkdir()
    assert commit(inner) == "unknown"

    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ("git", "-C", str(tmp_path), *who, *words)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    assert commit(tmp_path) == "unknown", "no commit yet"
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert commit(tmp_path) == head
    (tmp_path / "file").write_text("2")
    assert commit(tmp_path) == head + "+"
    assert commit(inner) == "unknown", "another's tree around it"
    monkeypatch.setenv("MINIDL_COMMIT", "0123abc")
    assert (commit(inner), commit(tmp_path)) == ("0123abc", head + "+")
    monkeypatch.setenv("MINIDL_COMMIT", "")
    assert commit(inner) == "unknown"
