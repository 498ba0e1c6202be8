"""Tar archives, compressed or not, read where they are: nothing is ever written to the disk."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minidl.ir import ArgumentError, format_size

KEPT = 2 * 2**30
"""The most bytes that are kept of one compressed tar."""

BROKEN = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)


@dataclass(frozen=True)
class Member:
    """One regular file: where its bytes are in the tar, or the bytes of it."""

    parts: tuple[str, ...]
    offset: int
    size: int
    raw: bytes | None = None

    def read(self, path: Path) -> bytes:
        """Its bytes out of the tar at `path`; fewer where that has become shorter."""
        if self.raw is not None:
            return self.raw
        # A file of its own for each read: nothing is shared by processes, forked or not.
        with open(path, "rb", buffering=0) as file:
            file.seek(self.offset)
            return file.read(self.size)


def read_members(
    path: Path, wanted: Callable[[str], bool], prefix: str = "", limit: int = KEPT
) -> list[Member]:
    """Every regular file below a prefix whose name is wanted, with its bytes where the tar is
    compressed: `limit` of them at most.

    Links, devices and sparse files are passed over. ArgumentError for a member that points outside
    (an absolute path or `..`), a tar cut short, or too many bytes.
    """
    with opened(path) as (tar, plain):
        end, kept, members, top = path.stat().st_size, 0, [], split(prefix)
        for info in tar:
            parts = split(info.name, str(path))
            if not (info.isreg() and not info.issparse() and wanted(info.name)):
                continue
            if parts[: len(top)] != top:
                continue
            if plain and info.offset_data + info.size > end:
                raise ArgumentError(f"{path}: cut short: {info.name} ends after the file")
            kept += info.size
            if not plain and kept > limit:
                raise ArgumentError(
                    f"{path}: more than {format_size(limit)} would have to stay in memory",
                    "unpack it into a folder, or store it as a plain .tar",
                )
            raw = None if plain else content(tar, info)
            members.append(Member(parts, info.offset_data, info.size, raw))
    return members


@contextmanager
def opened(path: Path) -> Iterator[tuple[tarfile.TarFile, bool]]:
    """A tar to go through from front to back, and whether it is a plain one."""
    plain = is_plain(path)
    mode: Literal["r:", "r|*"] = "r:" if plain else "r|*"
    try:
        with tarfile.open(path, mode) as tar:
            yield tar, plain
    except BROKEN as error:
        raise ArgumentError(f"{path}: not a tar that can be read: {error}") from error


def is_plain(path: Path) -> bool:
    """Whether a file is a tar without compression."""
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.TarError:
        return False
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be opened: {error.strerror}") from error


def content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    """A member's bytes; ArgumentError where the tar ends before."""
    file = tar.extractfile(info)
    raw = b"" if file is None else file.read()
    if len(raw) != info.size:
        raise ArgumentError(f"{tar.name!s}: cut short inside of {info.name}")
    return raw


def split(name: str, where: str = "prefix") -> tuple[str, ...]:
    """The parts of a path inside of a tar; ArgumentError for one that points outside."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts:
        raise ArgumentError(f"{where}: refused, as a path in it points outside: {name!r}")
    return parts
