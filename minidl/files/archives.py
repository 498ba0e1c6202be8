"""What is packed, zip archives and gzip files: how much comes out is known before it does."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from minidl.files.opening import open_file
from minidl.files.words import shown
from minidl.ir import ArgumentError, MinidlError

EXPANSION = 200
"""How many times as large as the file its unpacked content may be: weights and images do not
compress well, and deflate makes 1,032 zeros of a byte."""

BROKEN = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError,
    OverflowError, struct.error, zlib.error, UnicodeDecodeError,
)  # fmt: skip
"""What `zipfile` raises at a damaged or unusual entry."""


@contextmanager
def opened_archive(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """The archive at `path`, its directory checked; ArgumentError names path and entry."""
    with open_file(path) as file:
        try:
            with _directory(file) as archive:
                _require_honest(archive, file)
                yield archive
        except MinidlError as error:
            raise error.at(path) from None
        except BROKEN as error:
            raise _damaged(error).at(path) from None


def _directory(file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (
        Exception
    ) as error:  # of hostile bytes: ValueError, IndexError, struct.error, OSError, ...
        raise _damaged(error) from None


def _damaged(error: Exception) -> ArgumentError:
    return ArgumentError(f"the zip archive is damaged: it cannot be read: {shown(str(error))}")


@contextmanager
def opened_gzip(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The content of a .gz, or a file of another name as it is, and the most bytes that it has.

    ArgumentError names the path where it cannot be read.
    """
    try:
        size = path.stat().st_size
        if path.suffix == ".gz":
            with open_file(path) as packed, gzip.GzipFile(fileobj=packed) as unpacked:
                yield cast(BinaryIO, unpacked), EXPANSION * size
        else:
            with open_file(path) as plain:
                yield plain, size
    except (OSError, EOFError, zlib.error) as error:
        raise ArgumentError(f"{path}: cannot be read: {error}") from error


def _require_honest(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    size, seen, total = os.fstat(file.fileno()).st_size, set(), 0
    for info in archive.infolist():
        name = info.filename
        parts = name.split("/")
        if ".." in parts or "" in parts[:-1] or any(c in name for c in "\\\0"):
            raise ArgumentError(f"entry {shown(name)} has a name that leads elsewhere")
        if name in seen:
            raise ArgumentError(f"entry {shown(name)} is there twice")
        if info.flag_bits & 0x1:
            raise ArgumentError(f"entry {shown(name)} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArgumentError(
                f"entry {shown(name)} is compressed by method {info.compress_type}: "
                "0 (stored) and 8 (deflate) are read"
            )
        if info.compress_size > size:
            raise ArgumentError(f"entry {shown(name)} is larger than the file")
        if not 0 <= info.header_offset < size:
            raise ArgumentError(
                f"entry {shown(name)} is said to begin at byte {info.header_offset:,} of the "
                f"file's {size:,}"
            )
        seen.add(name)
        total += info.file_size
    if total > EXPANSION * size:
        raise ArgumentError(
            f"its content unpacks to {total:,} bytes, more than {EXPANSION} times the file's "
            f"{size:,}: refused"
        )


def require_stored(archive: zipfile.ZipFile) -> None:
    """ArgumentError where an entry is compressed: then no more is read than the file has."""
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ArgumentError(
                f"entry {shown(info.filename)} is compressed: only stored ones are read here"
            )
    ordered = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset + 30 + len(info.orig_filename) + info.file_size for info in ordered]
    for info, end in zip(ordered[1:], ends, strict=False):
        if info.header_offset < end:
            raise ArgumentError(f"entry {shown(info.filename)} overlaps the one before")
