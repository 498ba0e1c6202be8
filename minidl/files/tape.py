"""A file's content from front to back, unpacked on the way: never more of it than is asked for."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from minidl.ir import ArgumentError

EXPANSION, FREE = 50, 2**20
"""How many times as large as the file its content may be, and so many bytes in any case: images do
not compress, the smallest of them by the rest of their blocks."""

PIECE = 64 * 2**10
"""Bytes that are passed over at once."""

XZ_MEMORY = 128 * 2**20
"""Bytes that a .xz may ask for to be unpacked: `xz -9` needs 65 MiB."""

BROKEN = (lzma.LZMAError, zlib.error, EOFError, OSError)
"""What the libraries raise at a damaged file."""


class Tape:
    """Reads on, and knows where it is. `plain`: the file is not packed.

    ArgumentError where the content ends before, or is larger than such a file's may be.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(6)
        file.seek(0)
        unpack = next((how for start, how in PACKED.items() if head.startswith(start)), None)
        self.plain, self.at = unpack is None, 0
        self.limit = self.size if unpack is None else max(FREE, EXPANSION * self.size)
        self._file: Any = file if unpack is None else unpack(file)

    def read(self, count: int) -> bytes:
        """So many bytes; fewer, and none, only where the content ends before the first of them."""
        if self.plain and self.at == self.size:
            return b""
        self._require(count)
        found = self._read(count)
        if found and len(found) < count:
            raise ArgumentError("cut short")
        return found

    def skip(self, count: int) -> None:
        """Go past so many bytes."""
        self._require(count)
        if self.plain:
            self.at = self._file.seek(self.at + count)
            return
        while count:
            passed = len(self._read(min(count, PIECE)))
            if not passed:
                raise ArgumentError("cut short")
            count -= passed

    def _require(self, count: int) -> None:
        if self.at + count > self.limit:
            too_many = f"its content has more than {EXPANSION} times the file's {self.size:,} bytes"
            raise ArgumentError("cut short" if self.plain else too_many)

    def _read(self, count: int) -> bytes:
        try:
            found: bytes = self._file.read(count)
        except BROKEN as error:
            raise ArgumentError(f"damaged: {error}") from None
        self.at += len(found)
        return found


class _Xz(io.RawIOBase):
    """`lzma.LZMAFile` would give a file's header all the memory that it asks for."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.unpacker = file, _unpacker()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self.unpacker.eof:
                rest = self._next_stream()
                if not rest:
                    return 0
                self.unpacker = _unpacker()
            elif self.unpacker.needs_input:
                rest = self.file.read(PIECE)
                if not rest:
                    raise EOFError("it ends inside of what is packed")
            else:
                rest = b""
            if found := self.unpacker.decompress(rest, len(buffer)):
                buffer[: len(found)] = found
                return len(found)

    def _next_stream(self) -> bytes:
        """What is there of the next stream, past the zeros in front; nothing at the end."""
        rest = self.unpacker.unused_data.lstrip(b"\0")
        while not rest and (piece := self.file.read(PIECE)):
            rest = piece.lstrip(b"\0")
        return rest


def _unpacker() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=XZ_MEMORY)


PACKED: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": lambda file: bz2.BZ2File(file),
    b"\xfd7zXZ\0": lambda file: io.BufferedReader(_Xz(file)),
}
"""By the first bytes of a file, what unpacks it."""
