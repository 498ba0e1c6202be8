"""What a result says of where it comes from."""

from __future__ import annotations

import pytest

from benchmarks.gpu import about


def git(head: str, status: str = "") -> object:
    answers = {"rev-parse": head, "status": status}
    return lambda *command: answers[command[1]]


@pytest.mark.parametrize(
    ("head", "status", "given", "said"),
    [
        ("abc", "", None, "abc"),
        ("abc", " M file", None, "abc+"),
        ("abc", "", "other", "abc"),
        ("", "", "def", "def"),
        ("", "", None, "unknown"),
    ],
)
def test_commit(
    monkeypatch: pytest.MonkeyPatch, head: str, status: str, given: str | None, said: str
) -> None:
    monkeypatch.setattr(about, "output_of", git(head, status))
    monkeypatch.delenv("MINIDL_COMMIT", raising=False)
    if given is not None:
        monkeypatch.setenv("MINIDL_COMMIT", given)
    assert about.commit() == said
