"""Opening what people name: a file, and nothing that waits or never ends."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from minidl.ir import ArgumentError, format_size

NONBLOCK = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A pipe that nobody writes to is opened at once, too, and then refused; Windows has the other."""

TEXT = 64 * 2**20
"""Bytes of a text at most."""

MARK = "\ufeff"
"""The byte-order mark: of no use in UTF-8, and no part of the text."""

KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_file(path: str | Path) -> BinaryIO:
    """A file to be read from its start; OSError, which names it, where it cannot be opened, or is a
    folder.

    ArgumentError, and nothing is waited for, where it is a pipe, a socket or a device.
    """
    _require_file(os.stat(path).st_mode, path)  # to open a device can do something
    handle = os.open(path, os.O_RDONLY | NONBLOCK)
    try:
        _require_file(os.fstat(handle).st_mode, path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: str | Path) -> bytes:
    """All of a file. Errors as `open_file`."""
    with open_file(path) as file:
        return file.read()


def read_text(path: str | Path) -> str:
    """All of a text in UTF-8, without the mark that Windows puts in front; ArgumentError where it
    is none. Other errors as `open_file`."""
    with open_file(path) as file:
        raw = file.read(TEXT + 1)
    if len(raw) > TEXT:
        raise ArgumentError(f"{path}: a text of more than {format_size(TEXT)}")
    try:
        return raw.decode("utf-8").removeprefix(MARK)
    except UnicodeDecodeError as error:
        raise ArgumentError(
            f"{path}: no text in UTF-8: byte {error.start:,} is none of it"
        ) from None


def _require_file(mode: int, path: str | Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    for is_kind, name in KINDS:
        if is_kind(mode):
            raise ArgumentError(f"{path}: {name}, not a file")
