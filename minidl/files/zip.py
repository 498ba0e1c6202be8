"""Zip archives of files, read where they are: nothing is ever written to the disk.

Layout: PKWARE, *.ZIP File Format Specification* (APPNOTE), section 4.3.7, the local file header.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minidl.files.archives import opened_archive
from minidl.files.contents import Contents, Parts
from minidl.files.opening import open_file
from minidl.files.words import shown
from minidl.ir import ArgumentError

LOCAL = struct.Struct("<4s22xHH")
"""A local header: its mark, and the lengths of the name and of what is extra behind it."""
MARK = b"PK\x03\x04"


@dataclass(frozen=True)
class Entry:
    """One file: where its header is in the zip, and what its bytes must be."""

    parts: Parts
    offset: int
    packed: int
    """Bytes of it in the zip."""
    size: int
    crc: int
    deflated: bool

    @property
    def place(self) -> tuple[int, ...]:
        return self.offset, self.packed, self.size, self.crc, self.deflated


def read_entry(path: Path, place: Sequence[int]) -> bytes:
    """An entry's bytes out of the zip at `path`; ArgumentError where they are not what they should
    be. No more is unpacked than the directory says."""
    offset, packed, size, crc, deflated = place
    with open_file(path) as file:
        file.seek(offset)
        head = file.read(LOCAL.size)
        if len(head) != LOCAL.size or not head.startswith(MARK):
            raise _damaged()
        _, name, extra = LOCAL.unpack(head)
        file.seek(name + extra, 1)
        raw = file.read(packed)
    unpacked = _unpacked(raw, size) if deflated else raw
    if len(unpacked) != size or zlib.crc32(unpacked) != crc:
        raise _damaged()
    return unpacked


def _unpacked(raw: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, size + 1)
    except zlib.error:
        raise _damaged() from None


def _damaged() -> ArgumentError:
    return ArgumentError("the zip archive is damaged: its bytes are not what they should be")


def read_entries(path: Path, wanted: Callable[[Parts], bool]) -> Contents[Entry]:
    """What is in a zip; ArgumentError, which names it, where it is damaged, unpacks to too much, or
    an entry points outside; see `minidl.files.archives`."""
    found = Contents[Entry]()
    try:
        with opened_archive(path) as archive:
            for info in archive.infolist():
                parts = tuple(part for part in info.filename.split("/") if part not in ("", "."))
                if info.filename.startswith("/"):
                    raise ArgumentError(f"refused, as it points outside: {shown(info.filename)}")
                if not parts or info.is_dir():
                    found.folders.append(parts)
                elif _is_link(info) or not wanted(parts):
                    found.others.append(parts)
                else:
                    found.members[parts] = _entry(info, parts)
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be opened: {error.strerror or error}") from None
    return found


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def _entry(info: zipfile.ZipInfo, parts: Parts) -> Entry:
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return Entry(parts, info.header_offset, info.compress_size, info.file_size, info.CRC, deflated)
