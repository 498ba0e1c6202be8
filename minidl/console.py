"""Where people see what goes on: standard output and error, which may break and end nothing.

A pipe that nobody reads any more, a full disk and a closed stream cost what would have been shown.
The other stream says so, once.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Display:
    """A standard stream, whichever `sys` has at the moment; writing to it never raises."""

    def __init__(self, name: str, words: str) -> None:
        self.name, self.words = name, words
        self.other: Display | None = None
        """Where it is said that this one broke."""
        self._broken: Any = None
        """The stream that broke: one that takes its place is tried anew."""

    def say(self, line: str) -> None:
        """Show a line at once."""
        self.write(f"{line}\n")
        self.flush()

    def write(self, text: str) -> int:
        """Show text; what the stream's encoding lacks is escaped."""
        try:
            self._try(lambda stream: stream.write(text))
        except UnicodeEncodeError as error:
            plain = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
            self._try(lambda stream: stream.write(plain))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def _try(self, act: Any) -> None:
        stream = getattr(sys, self.name)
        if self.broken:
            return
        try:
            act(stream)
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError) as error:  # a closed stream raises ValueError
            self._broken = stream
            if self.other is not None:
                why = error.strerror if isinstance(error, OSError) else ""
                self.other.say(
                    f"minidl: {self.words} is lost ({why or error}): nothing more is shown there"
                )

    @property
    def broken(self) -> bool:
        """Whether nothing can be shown: it broke, or the program has none."""
        stream = getattr(sys, self.name)
        return stream is None or stream is self._broken

    def is_terminal(self) -> bool:
        """Whether somebody looks at it now."""
        stream = getattr(sys, self.name)
        try:
            return stream is not None and bool(stream.isatty())
        except ValueError:  # it is closed
            return False

    def __getattr__(self, name: str) -> Any:
        """What else a progress bar asks of a stream: its encoding, whether it is a terminal."""
        return getattr(getattr(sys, self.name), name)


OUTPUT = Display("stdout", "standard output")
ERRORS = Display("stderr", "standard error")
OUTPUT.other, ERRORS.other = ERRORS, OUTPUT


def say(line: str) -> None:
    """Show a line of what a run comes to on standard output."""
    OUTPUT.say(line)


def result(text: object, end: str = "\n") -> None:
    """Show what a command was asked for, without which it failed: OSError, which names the stream,
    where it is lost; BrokenPipeError where nobody reads it."""
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, OUTPUT.words) from None


def tell(line: str) -> None:
    """Show a note or an error, a line, on standard error."""
    ERRORS.say(line)


PATIENCE = 1.0
"""Seconds in which nobody asks what a program does."""


@contextmanager
def waiting(words: str, factor: float = 1.0) -> Iterator[None]:
    """While something goes on that shows nothing: after `factor` times PATIENCE a line on standard
    error says what it is, and then how long it takes, at times that grow."""
    ended = threading.Event()
    how = words, factor * PATIENCE, ended
    thread = threading.Thread(target=_tell_times, args=how, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _tell_times(words: str, first: float, ended: threading.Event) -> None:
    begun = time.monotonic()
    for at in growing(first):
        if ended.wait(begun + at - time.monotonic()):
            return
        passed = "" if at == first else f" {time.monotonic() - begun:.0f} s so far"
        tell(f"minidl: {words} ...{passed}")


def growing(first: float, least: float = 10.0, most: float = 600.0) -> Iterator[float]:
    """Times in seconds: the first, then each after twice as long as the one before, `least` at
    least and `most` at most."""
    yield first
    at = max(first, least / 2)
    for _ in itertools.count():
        at += min(at, most)
        yield at


def hush() -> None:
    """Before the process ends: what a broken stream still holds goes nowhere, so that Python, which
    writes it out at the end, finds no error that it would report."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _to_nowhere(stream)


def _to_nowhere(stream: Any) -> None:
    try:
        handle = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, handle)
    os.close(nowhere)
