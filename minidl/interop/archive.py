"""Zip archives of arrays, .npz and .pth: what their directory says is checked before use."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from minidl.interop.values import shown, widened
from minidl.ir import ArgumentError, Array

EXPANSION = 200
"""How many times as large as the file its unpacked content may be: weights do not compress well."""

BROKEN = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError,
    OverflowError, struct.error, zlib.error, UnicodeDecodeError,
)  # fmt: skip
"""What `zipfile` raises at a damaged or unusual archive."""


@contextmanager
def opened_archive(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """The archive at `path`, its directory checked; ArgumentError names path and entry."""
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            _require_honest(archive, file)
            yield archive
    except ArgumentError as error:
        raise ArgumentError(f"{path}: {error}") from None
    except BROKEN as error:
        raise ArgumentError(f"{path}: the zip archive is damaged: {error}") from None


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
            f"{size:,}: not weights"
        )


def require_stored(archive: zipfile.ZipFile) -> None:
    """ArgumentError where an entry is compressed: then no more is read than the file has."""
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ArgumentError(
                f"entry {shown(info.filename)} is compressed, which torch.save never does"
            )
    ordered = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset + 30 + len(info.orig_filename) + info.file_size for info in ordered]
    for info, end in zip(ordered[1:], ends, strict=False):
        if info.header_offset < end:
            raise ArgumentError(f"entry {shown(info.filename)} overlaps the one before")


def read_npz(path: str | Path) -> dict[str, Array]:
    """The arrays of a NumPy archive by name, float16 as float32; no object array is loaded."""
    with opened_archive(path) as archive:
        return {
            info.filename.removesuffix(".npy"): _read_npy(archive, info)
            for info in archive.infolist()
        }


def _read_npy(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """One .npy entry; its header must tell the size that the entry has."""
    name = shown(info.filename)
    with archive.open(info) as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = read[version[0]](file)
        except (KeyError, ValueError) as error:
            raise ArgumentError(f"entry {name} is no .npy array: {error}") from None
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise ArgumentError(
                f"array {name} holds {dtype}: minidl reads numbers of at most 64 bits"
            )
        nbytes, data = math.prod(shape) * dtype.itemsize, file.read()
    if min(shape, default=0) < 0 or len(data) != nbytes:
        raise ArgumentError(
            f"array {name} of {dtype}, shape {shape}, needs {nbytes:,} bytes, it has {len(data):,}"
        )
    order: Literal["F", "C"] = "F" if fortran else "C"
    array: Array = np.ndarray(shape, dtype, data, order=order)
    return widened(array.astype(dtype.newbyteorder("="), order="C"))
