"""A folder that one process writes to: a lock that ends with the process, and says whose it is."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minidl.files.atomic import BINARY
from minidl.ir import ArgumentError

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)
"""What a file system says that cannot lock."""


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Hold the folder, which is there; why it cannot be held, where this system or this file
    system has no locks, else nothing.

    ArgumentError, which says who, since when and where, where another run has it. The lock
    (`flock` on `.lock`) ends with its process, however that ends.
    """
    path = folder / NAME
    if fcntl is None:
        yield "this system has no flock"
        return
    handle, why = _taken(path)
    try:
        if not why:
            _sign(handle)
        yield why
    finally:
        try:
            if not why:
                with suppress(OSError):  # still held, so that it is this process's file
                    os.unlink(path)
        finally:
            os.close(handle)


def _taken(path: Path) -> tuple[int, str]:
    """The open file whose lock is held; why there is none, where there can be none."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | BINARY, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, handle):
                return handle, ""
        except BlockingIOError:
            raise _in_use(path, handle) from None
        except OSError as error:
            if error.errno in UNSUPPORTED:
                return handle, error.strerror or "no locks"
            os.close(handle)
            raise
        os.close(handle)  # whoever had it removed it meanwhile


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _sign(handle: int) -> None:
    """Say who it is, for people; nothing depends on it."""
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    said = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(said).encode())


def _in_use(path: Path, handle: int) -> ArgumentError:
    try:
        said = json.loads(os.read(handle, 4096))
        who = f"process {said['pid']} on {said['host']}, since {said['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "one that does not say who it is"
    finally:
        os.close(handle)
    return ArgumentError(
        f"{path.parent} is in use by another run: {who}",
        "let it end, or choose another folder",
    )
