"""Tar archives, compressed or not, read where they are: nothing is ever written to the disk.

The headers are read here, not by `tarfile`, which lets a header ask for any work and any memory.
Layout: POSIX.1-2017, pax, "pax Interchange Format" and "ustar Interchange Format"; GNU tar, "Basic
Tar Format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minidl.files.contents import Contents, Parts
from minidl.files.opening import open_file
from minidl.files.tape import Tape
from minidl.files.tar_headers import Found, found
from minidl.files.words import shown
from minidl.ir import ArgumentError, format_size

KEPT = 2 * 2**30
"""The most bytes that are kept of one compressed tar."""


@dataclass(frozen=True)
class Member:
    """One regular file: where its bytes are in the tar, or in what is kept of it."""

    parts: Parts
    offset: int
    size: int

    @property
    def place(self) -> tuple[int, int]:
        return self.offset, self.size


def read_part(path: Path, offset: int, size: int) -> bytes:
    """Bytes out of the file at `path`; fewer where that has become shorter."""
    # A file of its own for each read: nothing is shared by processes, forked or not.
    with open_file(path) as file:
        file.seek(offset)
        return file.read(size)


def read_files(
    path: Path, wanted: Callable[[str], bool], limit: int = KEPT, largest: int = 2**63
) -> dict[Parts, bytes]:
    """The bytes of every regular file whose path is wanted; see `read_contents`."""
    found = read_contents(path, lambda p: wanted("/".join(p)), limit, largest)

    def of(start: int, size: int) -> bytes:
        if found.kept is None:
            return read_part(path, start, size)
        return bytes(found.kept[start : start + size])

    return {parts: of(*member.place) for parts, member in found.members.items()}


def read_contents(
    path: Path,
    wanted: Callable[[Parts], bool],
    limit: int = KEPT,
    largest: int = 2**63,
) -> Contents[Member]:
    """What is in a tar; files that are wanted with their bytes where it is compressed: `limit` of
    them at most, of one file `largest`.

    Links, devices and sparse files are not read. ArgumentError for a member that points outside
    (an absolute path or `..`), a tar that is damaged or cut short, or too many bytes.
    """
    with opened(path) as tape:
        contents = Contents[Member](kept=None if tape.plain else bytearray())
        for info in found(tape):
            parts = split(info.name)
            if not parts or info.folder:
                contents.folders.append(parts)
                continue
            if not info.regular or not wanted(parts):
                contents.others.append(parts)
                continue
            if info.size > largest:
                raise ArgumentError(f"{shown(info.name)} has {info.size:,} bytes: too many")
            if contents.kept is not None and len(contents.kept) + info.size > limit:
                raise ArgumentError(
                    f"more than {format_size(limit)} would have to stay in memory",
                    "unpack it into a folder, or store it as a plain .tar",
                )
            contents.members[parts] = _member(tape, info, parts, contents.kept)
    return contents


def first_names(path: Path, count: int) -> list[str]:
    """What the first members are called, whatever they are. Errors as `read_members`."""
    with opened(path) as tape:
        return [info.name for info, _ in zip(found(tape), range(count), strict=False)]


@contextmanager
def opened(path: Path) -> Iterator[Tape]:
    """A tar to go through from front to back; whatever is wrong with it names it."""
    try:
        file = open_file(path)
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be opened: {error.strerror or error}") from None
    with file:
        try:
            yield Tape(file)
        except ArgumentError as error:
            raise error.at(path) from None


def _member(tape: Tape, info: Found, parts: Parts, kept: bytearray | None) -> Member:
    if kept is not None:
        raw = tape.read(info.size) if info.size else b""
        if len(raw) != info.size:
            raise ArgumentError(f"cut short inside of {shown(info.name)}")
        kept += raw
        return Member(parts, len(kept) - info.size, info.size)
    if info.offset + info.size > tape.size:
        raise ArgumentError(f"cut short: {shown(info.name)} ends after the file")
    return Member(parts, info.offset, info.size)


def split(name: str) -> Parts:
    """The parts of a path inside of a tar; ArgumentError for one that points outside."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts:
        raise ArgumentError(f"refused, as a path in it points outside: {shown(name)}")
    return parts
