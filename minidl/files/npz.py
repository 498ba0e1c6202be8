"""Arrays of NumPy's .npz: a zip archive with a .npy an array, none of which holds a pickle.

Source: numpy.lib.format, "Format Version 1.0" and 2.0.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from minidl.files.archives import opened_archive
from minidl.files.words import shown
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
        shape, fortran, dtype = _header(file, name)
        if dtype.hasobject:
            raise ArgumentError(f"array {name} holds {dtype}: Python objects are not read")
        check(name, dtype)
        needed, there = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
        data = file.read() if needed == there else b""
    if min(shape, default=0) < 0 or len(data) != needed:
        raise ArgumentError(
            f"array {name} of {dtype}, shape {shape}, needs {needed:,} bytes, it has {there:,}: "
            "the file cannot hold it"
        )
    order: Literal["F", "C"] = "F" if fortran else "C"
    array: Array = np.ndarray(shape, dtype, data, order=order)
    return array.astype(dtype.newbyteorder("="), order="C")


def _header(file: IO[bytes], name: str) -> tuple[Shape, bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        return read[version[0]](file)
    except (KeyError, ValueError, SyntaxError, RecursionError, tokenize.TokenError) as error:
        raise ArgumentError(f"entry {name} cannot be read, it is no .npy array: {error}") from None
