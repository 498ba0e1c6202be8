"""Arrays of NumPy's .npz: a zip archive with a .npy an array, none of which holds a pickle.

Source: numpy.lib.format, "Format Version 1.0" and 2.0.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from minidl.files.archives import opened_archive
from minidl.files.words import is_shape, shown
from minidl.ir import ArgumentError, Array, Shape

Check = Callable[[str, "np.dtype[Any]"], None]
"""Raises ArgumentError where the caller wants no array of that name and dtype."""


def read_npz(path: str | Path, check: Check) -> dict[str, Array]:
    """Every array of an archive by its name; ArgumentError names the file and the array."""
    with opened_archive(path) as archive:
        return {
            info.filename.removesuffix(".npy"): read_npy(archive, info, check)
            for info in archive.infolist()
        }


def read_npy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, check: Check) -> Array:
    """The array of one entry, in C order and this machine's byte order.

    ArgumentError, before any of it is read, where the header does not tell the size that the entry
    has, or `check` does not want it.
    """
    name = shown(info.filename)
    with archive.open(info) as file:
        head, left = _head(file, info, name)
        shape, fortran, dtype = _header(head, name)
        if dtype.hasobject:
            raise ArgumentError(f"array {name} holds {dtype}: Python objects are not read")
        check(name, dtype)
        needed = math.prod(shape) * dtype.itemsize
        if needed != left or not is_shape(shape, dtype.itemsize):
            raise ArgumentError(
                f"array {name} of {dtype}, shape {shown(str(shape))}, needs {needed:,} bytes, it "
                f"has {left:,}: the file cannot hold it"
            )
        # So many and no more: what is packed can be longer than the directory says.
        data = file.read(needed) if needed else b""
    if len(data) != needed:
        raise ArgumentError(f"array {name} is cut short")
    order: Literal["F", "C"] = "F" if fortran else "C"
    array: Array = np.ndarray(shape, dtype, data, order=order)
    return array.astype(dtype.newbyteorder("="), order="C")


HEADER = 10_000
"""Bytes of a header at most, as in NumPy."""


def _head(file: IO[bytes], info: zipfile.ZipInfo, name: str) -> tuple[bytes, int]:
    """A header with what stands in front of it, and how many bytes are said to follow."""
    start = file.read(8)
    width = LENGTHS.get(start[6:8], 0)
    length = file.read(width) if width else b""
    size = int.from_bytes(length, "little")
    whole = start.startswith(b"\x93NUMPY") and len(length) == width > 0
    left = info.file_size - 8 - width - size
    if not whole or size > HEADER or left < 0:
        raise ArgumentError(f"entry {name} cannot be read, it is no .npy array")
    return start + length + file.read(size), left


LENGTHS = {b"\x01\0": 2, b"\x02\0": 4}
"""Bytes of the header's length, by the format's version."""


def _header(head: bytes, name: str) -> tuple[Shape, bool, np.dtype[Any]]:
    file = io.BytesIO(head)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about Python 2, and words that Python finds odd
            version = np.lib.format.read_magic(file)
            read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
            return read[version[0]](file)
    except Exception as error:  # Python's parser and NumPy's dtypes raise nearly anything at these
        raise ArgumentError(
            f"entry {name} cannot be read, it is no .npy array: {shown(str(error))}"
        ) from None
