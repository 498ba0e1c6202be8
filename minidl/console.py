"""Where people see what goes on: standard output and error, which may break and end nothing.

A pipe that nobody reads any more, a full disk and a closed stream cost what would have been shown.
The other stream says so, once. What an encoding lacks is escaped, whoever named it: file names are
any bytes. On a terminal prose ends at its width, words whole.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Display:
    """A standard stream, whichever `sys` has at the moment; writing to it never raises."""

    def __init__(self, name: str, words: str) -> None:
        self.name, self.words = name, words
        self.other: Display | None = None
        """Where it is said that this one broke."""
        self.bar: Callable[[], Any] = lambda: None
        """The progress bar that is drawn here, which makes room for lines; its owner holds it."""
        self._broken: Any = None
        """The stream that broke: one that takes its place is tried anew."""

    def say(self, line: str) -> None:
        """Show a line at once, and no part of a bar in it."""
        bar = ERRORS.bar()
        if bar is not None:
            bar.clear()
        self.write(f"{line}\n")
        self.flush()

    def write(self, text: str) -> int:
        """Show text; what the stream's encoding lacks is escaped."""
        self._try(lambda stream: stream.write(encodable(text, stream)))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def _try(self, act: Any) -> None:
        stream = getattr(sys, self.name)
        if self.broken:
            return
        try:
            act(stream)
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


def encodable(text: str, stream: Any) -> str:
    """A text as the stream can take it: what its encoding lacks is escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding, getattr(stream, "errors", None) or "strict")
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def width() -> int:
    """Columns of the terminal, or what COLUMNS says; 80 where there is none."""
    return shutil.get_terminal_size().columns


def wrapped(text: str) -> str:
    """Lines of prose and of tables within the terminal's width; words stay whole, and what is left
    of a row goes on below its last column."""
    return "\n".join(map(_wrapped_line, text.split("\n")))


def _wrapped_line(line: str) -> str:
    most = width()
    if len(line) <= most:
        return line
    if set(line) == {"-"}:  # the rule of a table
        return line[:most]
    begins = len(line) - len(line.lstrip())
    if begins > most * 3 // 4:  # what is left of a cell that stands further to the right
        line = " " * (most // 2) + line.lstrip()
    line = _bound(line)
    columns = [gap.end() for gap in COLUMN.finditer(line) if gap.end() <= most * 3 // 4]
    head, below = (line[: columns[-1]], columns[-1]) if columns else ("", INDENT)
    how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    margins: dict[str, Any] = {"initial_indent": " " * len(head), "subsequent_indent": " " * below}
    rows = textwrap.wrap(line[len(head) :], most, **margins, **how)
    rows = [head + rows[0].removeprefix(margins["initial_indent"]), *rows[1:]]
    return "\n".join(rows).replace(STAY, " ")


def _bound(line: str) -> str:
    """A line whose numbers stay with their units, and in a row of cells with their names too."""
    line = CELL.sub(lambda cell: cell[0].replace(" ", STAY), line)
    return UNIT.sub(STAY, line)


STAY = "\0"
"""A space where no line ends."""

CELL = re.compile(r"(?<= {2})(?:[\w-]+ )?[\d,.]+(?: \S+)?(?= {2}|$)")
UNIT = re.compile(r"(?<=\d) (?=(?:%|[KMG]i?B|B|s|ms|G?FLOP|images(?:/s)?)(?![\w/]))")

COLUMN = re.compile(r"  +(?=\S)|^\w+: (?=\S)")
"""What a column begins behind."""

INDENT = 4
"""Columns before what is left of a line without columns."""


def fitted(text: str) -> str:
    """Within the width where people look at it, or say one by COLUMNS; in a file or a pipe a line
    stays a line, for who searches it."""
    looked_at = OUTPUT.is_terminal() or "COLUMNS" in os.environ
    return wrapped(text) if looked_at else text


def say(line: str) -> None:
    """Show a line of what a run comes to on standard output."""
    OUTPUT.say(fitted(line))


def show(text: object) -> None:
    """Show a command's result that people read, as `result` does, within the terminal's width."""
    result(fitted(str(text)))


def result(text: object, end: str = "\n") -> None:
    """Show what a command was asked for, as it is, without which it failed: OSError, which names
    the stream, where it is lost; BrokenPipeError where nobody reads it."""
    try:
        print(encodable(f"{text}{end}", sys.stdout), end="", flush=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, OUTPUT.words) from None
    except ValueError as error:  # it is closed
        raise OSError(errno.EBADF, str(error), OUTPUT.words) from None


def tell(line: str) -> None:
    """Show a note or an error on standard error: one line, which a terminal shows in several."""
    ERRORS.say(wrapped(line) if ERRORS.is_terminal() else line)


PATIENCE = 1.0
"""Seconds in which nobody asks what a program does."""


class Doing:
    """What is being done while somebody waits: whoever knows calls it, with the share that is done.
    A terminal shows that on its last line, until it is done."""

    def __init__(self) -> None:
        self.now = ""
        """As people read it."""

    def __call__(self, phrase: str, share: float) -> None:
        self.now = f"{phrase}, {100 * share:.0f} %" if share < 1 else ""
        if ERRORS.is_terminal():
            self.clear()
            ERRORS.write(self.now)
            ERRORS.flush()

    def clear(self) -> None:
        """Make room for another line."""
        if ERRORS.is_terminal():
            ERRORS.write("\r\x1b[2K")


@contextmanager
def waiting(words: str, factor: float = 1.0) -> Iterator[Doing]:
    """While something goes on that shows nothing: after `factor` times PATIENCE a line on standard
    error says what it is, and then how long it takes, at times that grow, with what the value was
    called with last."""
    ended, doing = threading.Event(), Doing()
    how = words, factor * PATIENCE, ended, doing
    thread = threading.Thread(target=_tell_times, args=how, daemon=True)
    thread.start()
    before, ERRORS.bar = ERRORS.bar, lambda: doing if doing.now else before()
    try:
        yield doing
    finally:
        ended.set()
        thread.join()
        ERRORS.bar = before
        if doing.now:
            doing.clear()


def _tell_times(words: str, first: float, ended: threading.Event, doing: Doing) -> None:
    begun = time.monotonic()
    for at in growing(first):
        if ended.wait(begun + at - time.monotonic()):
            return
        passed = "" if at == first else f" {time.monotonic() - begun:.0f} s so far"
        now = f" ({doing.now})" if doing.now else ""
        tell(f"minidl: {words} ...{passed}{now}")


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
