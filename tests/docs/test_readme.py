"""README: its commands stand where .ci/run looks for them, its example runs, its figures are the
measured ones, it names every command."""

from __future__ import annotations

import json
import re

import pytest

from docs.measured import cpu_steps
from minidl.cli import COMMANDS
from tests.docs.pages import ROOT, blocks, page, under, words

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


def test_measured_figures_are_those_of_the_files() -> None:
    rows, speed = cpu_steps(), words(under(README, "## Speed"))
    *first, last = (f"{100 * row['recompute_share']:.2f}" for row in rows)
    outside = max(row["transient_bytes"] for row in rows) / 2**20
    loader = json.loads((ROOT / "benchmarks/results/cpu/2026-11-25/loader.json").read_text("utf-8"))
    (alone,) = (row for row in loader["rows"] if row["workers"] == 0)
    planning = json.loads(
        (ROOT / "benchmarks/results/cpu/2026-11-24/planning.json").read_text("utf-8")
    )
    _, thousand, most = (f"{row['planning_seconds']:.1f}" for row in planning["graphs"])
    assert f"1,000 ops took {thousand} s, one of 10,000 ops {float(most):.0f} s" in speed
    assert f"and did {', '.join(first)} and {last} %" in speed
    assert f"a step holds {outside:.1f} MiB at most" in speed
    assert f"batched {alone['minidl_over_pytorch']:.2f} times as fast" in speed


def test_every_command_is_named() -> None:
    commands = words(under(README, "## Status")).partition("the commands ")[2].partition(".")[0]
    assert re.findall(r"`([\w-]+)`", commands) == list(COMMANDS)
