"""README: its commands stand where .ci/run looks for them, its example runs."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import blocks, page, under

README = page("README.md")


@pytest.mark.parametrize("heading", ["## Train", "## Test"])
def test_one_command_under_its_heading(heading: str) -> None:
    text = under(README, heading)
    (command,) = blocks(text, "sh")[:1]
    assert text.strip().startswith("```sh\n")
    assert command.count("\n") == 1
    assert command.startswith("python3 -m venv .venv && ")


def test_the_example_trains(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(under(README, "## Use"), "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 18
    short = re.sub(r"range\(\d+\)", "range(2)", code)
    assert short != code
    exec(compile(short, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "test accuracy" in printed
    for mode in ("naive", "caffe", "liveness", "fujitsu2016", "arena"):
        assert mode in printed
