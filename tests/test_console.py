"""A display that breaks ends nothing: pipes, full disks, closed streams, poor encodings."""

from __future__ import annotations

import ast
import io
import itertools
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

import pytest

from minidl import console
from minidl.console import ERRORS, OUTPUT, growing, say, tell, waiting
from tests.test_floors import MODULES


def nobody_reads() -> TextIO:
    read, write = os.pipe()
    os.close(read)
    return open(write, "w")


def full() -> TextIO:
    return open("/dev/full", "w")


def closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


BROKEN: dict[str, tuple[Callable[[], TextIO], str]] = {
    "pipe": (nobody_reads, "Broken pipe"),
    "disk": (full, "No space left on device"),
    "closed": (closed, "I/O operation on closed file"),
}
"""Streams, and why they are lost."""


def end(stream: TextIO) -> None:
    """Close what holds text that it cannot write."""
    with suppress(OSError):
        stream.close()


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_it_is_lost_and_said_once(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, why = BROKEN[kind]
    other = io.StringIO()
    stream = make()
    monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, {"stdout": "stderr", "stderr": "stdout"}[name], other)
    show = {"stdout": say, "stderr": tell}[name]
    for _ in range(3):
        show("a line")
    words = {"stdout": "standard output", "stderr": "standard error"}[name]
    assert other.getvalue() == f"minidl: {words} is lost ({why}): nothing more is shown there\n"
    end(stream)


@pytest.mark.parametrize("kind", BROKEN)
def test_both_are_lost(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [BROKEN[kind][0]() for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    say("a line")
    tell("a line")
    assert OUTPUT.broken
    assert ERRORS.broken
    for stream in streams:
        end(stream)


def test_a_program_without_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    say("a line")
    tell("a line")
    assert not ERRORS.is_terminal()


def test_a_new_stream_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed())
        say("lost")
    say("seen")
    assert capsys.readouterr().out == "seen\n"


def test_what_an_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    say("猫 100 %")
    assert raw.getvalue() == b"\\u732b 100 %\n"


def prints(source: str) -> bool:
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    words = ("print", "sys.stdout.write", "sys.stderr.write")
    return any(ast.unparse(function) in words for function in calls)


@pytest.mark.parametrize("name", MODULES)
def test_only_the_console_prints(name: str) -> None:
    assert prints(MODULES[name].read_text(encoding="utf-8")) == (name == "minidl.console")


def test_a_bar_is_drawn_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By tqdm, which asks a stream for more than to write."""
    from minidl.train import progress

    stream: Any = full()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "someone_looks", lambda: True)
    bar = progress.tqdm(total=2, file=progress.bar_file(), mininterval=0)
    bar.update(1)
    bar.update(1)
    bar.close()
    assert ERRORS.broken
    end(stream)


# -- waits -----------------------------------------------------------------------------------------


def test_times_grow() -> None:
    """Each after twice as long as the one before, and never later than ten minutes after it."""
    assert list(itertools.islice(growing(1.0), 6)) == [1, 10, 20, 40, 80, 160]
    times = list(itertools.islice(growing(10.0), 30))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert times[:3] == [10, 20, 40]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 600


@pytest.mark.parametrize("now", ["", "placing, 25 %"])
def test_a_wait_is_told_of_while_it_lasts(now: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, with what is being done, and no more once it is over; however it ends."""
    told, twice = list[str](), threading.Event()

    def heard(line: str) -> None:
        told.append(line)
        if len(told) == 2:
            twice.set()

    monkeypatch.setattr(console, "tell", heard)
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    monkeypatch.setattr(console, "growing", lambda first: iter([0.0, 0.001, 1e6]))
    with suppress(KeyboardInterrupt), waiting("planning") as doing:
        doing.now = now
        assert twice.wait(60)
        raise KeyboardInterrupt
    now = f" ({now})" if now else ""
    assert told[0] in ("minidl: planning ...", f"minidl: planning ...{now}")
    assert re.fullmatch(rf"minidl: planning \.\.\. \d+ s so far{re.escape(now)}", told[1])
    threads = [thread for thread in threading.enumerate() if "_tell_times" in thread.name]
    assert (len(told), threads) == (2, [])


@pytest.mark.parametrize("looked_at", [False, True])
def test_what_is_done_stands_on_a_terminals_last_line(
    looked_at: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is told meanwhile takes its place, and the end leaves none."""
    monkeypatch.setattr(type(ERRORS), "is_terminal", lambda stream: looked_at)
    with waiting("planning") as doing:
        doing("placing", 0.25)
        tell("a note")
        doing("placing", 0.5)
        doing("placing", 1)
        tell("done")
        doing("ordering", 0.75)
    gone = "\r\x1b[2K"
    first, second = f"{gone}placing, 25 %{gone}a note\n", f"{gone}placing, 50 %{gone}done\n"
    shown = f"{first}{second}{gone}ordering, 75 %{gone}"
    assert capsys.readouterr().err == (shown if looked_at else "a note\ndone\n")


def test_a_short_wait_is_not_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("planning"):
        pass
    assert capsys.readouterr() == ("", "")
