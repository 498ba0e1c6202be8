"""docs/roofline.md: its example runs, and says what it prints is."""

from __future__ import annotations

import pytest

from tests.docs.pages import blocks, page


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(page("docs/roofline.md"), "python")
    exec(compile(code, "roofline.md", "exec"), {})
    first, *longest = capsys.readouterr().out.splitlines()
    assert "ms predicted, roofline" in first
    assert [line.split()[1] for line in longest] == ["us"] * 3
