"""Writing a file as a whole: whoever reads the path finds the old file or the new one.

Every file that minidl writes is written here, so that no process that is killed and no disk that
fills up leaves half of one.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

Pieces = Iterable[bytes | memoryview]


def write_atomically(
    path: str | Path, data: bytes | Pieces, check: Callable[[Path], object] | None = None
) -> None:
    """Put `data`, bytes or pieces of them, at `path`: beside it, to the disk, renamed over it.

    check: is given the whole file before it has its name; what it raises stops the rename. The mode
    is 0666 less the user's umask; a symbolic link stays one; a device or a pipe is written to as it
    is. OSError names `path`, which is then as it was, and nothing else is left.
    """
    pieces = (data,) if isinstance(data, bytes) else data
    try:
        if _is_stream(path):
            _write(os.open(path, os.O_WRONLY), pieces, flush=False)
        else:
            _replace(Path(os.path.realpath(path)), pieces, check)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_text(path: str | Path, text: str) -> None:
    """The same with text, as UTF-8."""
    write_atomically(path, encoded(text))


def append_line(path: str | Path, line: str) -> None:
    """Add a line, its end included, to a file that grows while a run goes on, as UTF-8.

    The system is given all of it at once, so that a reader finds a part of a line only where the
    disk is full.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o666)
    _write(handle, [encoded(line)], flush=False)


def encoded(text: str) -> bytes:
    """A text as UTF-8; bytes of file names that are none are escaped."""
    return text.encode("utf-8", "backslashreplace")


def unfinished(path: Path) -> Path:
    """Where a file may lie until it is whole: a hidden name of its own, in the same folder."""
    return path.with_name(f".{path.name[:LONGEST]}.{secrets.token_hex(8)}.part")


def sweep(folder: Path, start: str) -> None:
    """Remove what killed processes left of files whose names begin with `start`."""
    for left in folder.glob(f".{start}*.part"):
        if UNFINISHED.fullmatch(left.name):
            with suppress(FileNotFoundError):
                os.unlink(left)


UNFINISHED = re.compile(r"\..*\.[0-9a-f]{16}\.part", re.DOTALL)
"""What `unfinished` makes."""

BINARY = getattr(os, "O_BINARY", 0)
"""Windows' flag for bytes as they are."""

LONGEST = 40
"""Characters of a name that its unfinished file repeats; file systems allow 255 bytes."""


def _is_stream(path: str | Path) -> bool:
    """Whether there is something that cannot be replaced: /dev/stdout, a named pipe."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _replace(target: Path, pieces: Pieces, check: Callable[[Path], object] | None) -> None:
    part = unfinished(target)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
    try:
        _write(handle, pieces, flush=True)
        if check is not None:
            check(part)
        os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise
    flush_folder(target.parent)


def _write(handle: int, pieces: Pieces, flush: bool) -> None:
    """Write all of it, and close the file. A system may take less than it is given at a time."""
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[os.write(handle, left) :]
        if flush:
            os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(folder: Path) -> None:
    """Make renames in it reach the disk; only POSIX lets a folder be flushed."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
