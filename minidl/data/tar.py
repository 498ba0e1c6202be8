"""Pictures inside of a tar, which is read where it is: nothing is ever written to the disk."""

from __future__ import annotations

import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minidl.data.errors import BrokenPictureError
from minidl.data.folder import classes_of, is_picture
from minidl.ir import ArgumentError, format_size

KEPT = 2 * 2**30
"""The most bytes of encoded pictures that are kept of one compressed tar."""

BROKEN = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)


@dataclass(frozen=True)
class Member:
    """One regular file: where its bytes are in the tar, or the bytes of it."""

    parts: tuple[str, ...]
    offset: int
    size: int
    raw: bytes | None = None


class ImageTar:
    """`<prefix>/<class>/<anything>.jpg`, `.jpeg` or `.png` in a .tar, .tar.gz, .tar.bz2 or .tar.xz.

    A plain tar is read by offset, one open file a read. A compressed one is read once, and the
    encoded pictures below `prefix` stay in memory: `limit` bytes at most, `kept` says how many.
    Links, devices and sparse files are passed over. ArgumentError for a member that points
    outside (an absolute path or `..`), a tar cut short, too many bytes, or no picture.
    """

    def __init__(self, path: str | os.PathLike[str], prefix: str = "", limit: int = KEPT) -> None:
        self._take(Path(path), prefix, read_members(Path(path), prefix, limit))

    @classmethod
    def of_members(cls, path: Path, prefix: str, members: list[Member]) -> ImageTar:
        """From members that are read already, so that two splits need one pass."""
        tar = cls.__new__(cls)
        tar._take(path, prefix, members)
        return tar

    def _take(self, path: Path, prefix: str, members: list[Member]) -> None:
        top = split(prefix)
        inner = [m for m in members if m.parts[: len(top)] == top and len(m.parts) > len(top) + 1]
        self.path, self.members = path, sorted(inner, key=lambda m: m.parts)
        where = f"{path}, below {prefix}" if prefix else str(path)
        self.classes, self.labels = classes_of((m.parts[len(top)] for m in self.members), where)

    @property
    def kept(self) -> int:
        """Bytes of encoded pictures in memory."""
        return sum(len(member.raw) for member in self.members if member.raw is not None)

    def __len__(self) -> int:
        return len(self.members)

    def name(self, index: int) -> str:
        return f"{self.path}: {'/'.join(self.members[index].parts)}"

    def read(self, index: int) -> bytes:
        member = self.members[index]
        if member.raw is not None:
            return member.raw
        # A file of its own for each read: nothing is shared by processes, forked or not.
        with open(self.path, "rb", buffering=0) as file:
            file.seek(member.offset)
            raw = file.read(member.size)
        if len(raw) != member.size:
            raise BrokenPictureError(f"{self.name(index)}: the tar is shorter than it was")
        return raw


def read_members(path: Path, prefix: str = "", limit: int = KEPT) -> list[Member]:
    """Every picture below a prefix, with its bytes where the tar is compressed."""
    with opened(path) as (tar, plain):
        end, kept, members, top = path.stat().st_size, 0, [], split(prefix)
        for info in tar:
            parts = split(info.name, str(path))
            if not (info.isreg() and not info.issparse() and is_picture(info.name)):
                continue
            if parts[: len(top)] != top:
                continue
            if plain and info.offset_data + info.size > end:
                raise ArgumentError(f"{path}: cut short: {info.name} ends after the file")
            kept += info.size
            if not plain and kept > limit:
                raise ArgumentError(
                    f"{path}: more than {format_size(limit)} of pictures, which would have to "
                    f"stay in memory: unpack it into a folder, or store it as a plain .tar"
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
