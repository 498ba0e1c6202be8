"""Reading and writing .safetensors: the whole header is checked before a byte of data is used.

Layout: the header's length as 8 bytes, little-endian; the header, a JSON object from names to
dtype, shape and data_offsets, half-open, counted from the header's end, and `__metadata__`, words
by words; the data. The format's own rules (https://github.com/huggingface/safetensors, "Format")
are all enforced, since a file that breaks one is read differently by different programs.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from minidl.files.atomic import write_atomically
from minidl.files.fields import parse_json, take
from minidl.files.opening import open_file
from minidl.files.words import MOST_AXES, is_count, is_shape, shown
from minidl.ir import ArgumentError, Array, Shape

HEADER_LIMIT = 100_000_000
"""Bytes of a header at most, as in the format's own library."""

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
"""The format's names and NumPy's; bfloat16 as its 16 bits."""

NAMES = {np.dtype(own).name: name for name, own in DTYPES.items() if name != "BF16"}
"""NumPy's names and the format's, for writing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: bytes [start, stop), counted from the start of the data."""

    name: str
    dtype: str
    shape: Shape
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file has: tensors in its order, words, and the byte where the data begins."""

    entries: tuple[Entry, ...]
    metadata: dict[str, str]
    origin: int


def read_safetensors(path: str | Path) -> tuple[dict[str, Array], Header]:
    """Every tensor by name, bfloat16 as its 16 bits, and the header.

    ArgumentError, naming the file, where a rule of the format is broken; OSError where it cannot be
    read.
    """
    with open_file(path) as file:
        try:
            header = _header(file)
            return {
                entry.name: _read(file, entry, header.origin) for entry in header.entries
            }, header
        except ArgumentError as error:
            raise error.at(path) from None


def read_in_pieces(
    path: str | Path, order: Callable[[Entry], str]
) -> tuple[Header, Iterator[tuple[Entry, Iterator[memoryview]]]]:
    """The header, and every tensor as it lies on the disk, PIECE bytes at a time: for what is too
    large to be held. A piece is valid until the next one is asked for. Errors as
    `read_safetensors`, those of the data while it is read."""
    header = read_header(path)

    def tensors() -> Iterator[tuple[Entry, Iterator[memoryview]]]:
        with open_file(path) as file:
            for entry in sorted(header.entries, key=order):
                yield entry, _pieces_of(file, entry, header.origin)

    return header, tensors()


PIECE = 2**18
"""Bytes."""


def _pieces_of(file: BinaryIO, entry: Entry, origin: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(PIECE, entry.stop - entry.start)))
    file.seek(origin + entry.start)
    left = entry.stop - entry.start
    while left:
        count = file.readinto(buffer[: min(PIECE, left)])  # type: ignore[attr-defined]
        if not count:
            raise ArgumentError(f"tensor {shown(entry.name)} is cut short")
        yield buffer[:count]
        left -= count


def read_header(path: str | Path) -> Header:
    """What a file has, its data left alone. Errors as `read_safetensors`."""
    with open_file(path) as file:
        try:
            return _header(file)
        except ArgumentError as error:
            raise error.at(path) from None


def write_safetensors(
    path: str | Path,
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write arrays by name, and words by words, whole or not at all.

    check: is given the whole file before it has its name. ArgumentError, naming the file, where an
    array's dtype is none of the format, or metadata is no words.
    """
    words = dict(metadata or {})
    if not all(isinstance(word, str) for pair in words.items() for word in pair):
        raise ArgumentError(f"{path}: metadata maps words to words, got {words!r}")
    entries = _entries(tensors)
    wrong = next((e for e in entries if e.dtype not in DTYPES), None)
    if wrong is not None:
        raise ArgumentError(f"{path}: {wrong.name} holds {wrong.dtype}: numbers can be saved")
    write_atomically(path, _pieces(tensors, entries, words), check)


def _entries(tensors: Mapping[str, Array]) -> list[Entry]:
    """Where each tensor will lie. Wide elements come first, so that each lies at a multiple of its
    elements' bytes: readers that map the file need it. No array is held, since a mapping may make
    each when it is asked for."""
    found, end = [], 0
    shapes = [(name, _shape_of(tensors[name])) for name in tensors]
    for name, (dtype, shape) in sorted(shapes, key=lambda row: (-row[1][0].itemsize, row[0])):
        start, end = end, end + math.prod(shape) * dtype.itemsize
        found.append(Entry(name, NAMES.get(dtype.name, dtype.name), shape, start, end))
    return found


def _shape_of(array: ArrayLike) -> tuple[np.dtype[np.generic], Shape]:
    array = np.asarray(array)
    return array.dtype, array.shape


def _pieces(
    tensors: Mapping[str, Array], placed: list[Entry], words: dict[str, str]
) -> Iterator[bytes | memoryview]:
    """The file's bytes, tensor by tensor."""
    entries: dict[str, object] = {"__metadata__": words} if words else {}
    for e in placed:
        offsets = [e.start, e.stop]
        entries[e.name] = {"dtype": e.dtype, "shape": list(e.shape), "data_offsets": offsets}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    yield len(header).to_bytes(8, "little")
    yield header
    for e in placed:
        yield raw_bytes(np.asarray(tensors[e.name]))


def raw_bytes(array: Array) -> memoryview:
    """The elements in C order, little endian, as files have them."""
    little = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return little.reshape(-1).view(np.uint8).data


def _header(file: BinaryIO) -> Header:
    """The tensors in the order of the header, all checked."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > HEADER_LIMIT:
        raise ArgumentError("it does not begin as a .safetensors file does")
    if length > size - 8:
        raise ArgumentError(
            f"its header alone has {length:,} bytes, the file {size:,}: it is damaged or cut short"
        )
    header = _parsed(file.read(length))
    metadata = take(dict[str, str], header.pop("__metadata__", {}), "the header's __metadata__")
    entries = tuple(_entry(name, about) for name, about in header.items())
    _require_tight(entries, size - 8 - length)
    return Header(entries, metadata, 8 + length)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        header: dict[str, Any] = take(dict[str, Any], parse_json(raw, finite=True), "it")
    except ArgumentError as error:
        raise error.at("the header") from None
    return header


def _entry(name: str, about: Any) -> Entry:
    if not isinstance(about, dict) or about.keys() != {"dtype", "shape", "data_offsets"}:
        raise ArgumentError(f"tensor {shown(name)} needs dtype, shape and data_offsets, only these")
    dtype, shape, offsets = about["dtype"], about["shape"], about["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ArgumentError(
            f"tensor {shown(name)} has dtype {shown(dtype)}: minidl reads {', '.join(DTYPES)}"
        )
    if not isinstance(shape, list) or len(shape) > MOST_AXES or not all(map(is_count, shape)):
        raise ArgumentError(
            f"tensor {shown(name)}: its shape is no list of at most {MOST_AXES} whole numbers >= 0"
        )
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_count, offsets)):
        raise ArgumentError(f"tensor {shown(name)}: data_offsets are no two whole numbers >= 0")
    needed = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != needed:
        raise ArgumentError(
            f"tensor {shown(name)}: {dtype} of shape {tuple(shape)} has {needed:,} bytes, "
            f"data_offsets {offsets} span {offsets[1] - offsets[0]:,}"
        )
    if not is_shape(shape, np.dtype(DTYPES[dtype]).itemsize):
        raise ArgumentError(f"tensor {shown(name)} has a shape that nothing can have, {shape}")
    return Entry(name, dtype, tuple(shape), *offsets)


def _require_tight(entries: tuple[Entry, ...], size: int) -> None:
    """ArgumentError unless the tensors fill the data, side by side."""
    end = 0
    for entry in sorted(entries, key=lambda e: (e.start, e.stop)):
        if entry.start != end:
            wrong = "overlaps the one before" if entry.start < end else "leaves a gap in front"
            raise ArgumentError(f"tensor {shown(entry.name)} at byte {entry.start:,} {wrong}")
        end = entry.stop
    if end != size:
        raise ArgumentError(
            f"its tensors have {end:,} bytes, the file has {size:,} for them: it is damaged or "
            "cut short"
        )


def _read(file: BinaryIO, entry: Entry, origin: int) -> Array:
    array: Array = np.empty(entry.shape, DTYPES[entry.dtype])
    file.seek(origin + entry.start)
    if file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
        raise ArgumentError(f"tensor {shown(entry.name)} is cut short")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
