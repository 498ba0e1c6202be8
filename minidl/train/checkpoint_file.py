"""A checkpoint's file: safetensors, the state of a run in its header, a digest over both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from minidl.files.safetensors import (
    DTYPES,
    Header,
    raw_bytes,
    read_header,
    read_in_pieces,
    read_safetensors,
    write_safetensors,
)
from minidl.ir import ArgumentError, Array, CheckpointError, Shape

STATE, DIGEST = "state", "sha256"
"""Keys of the header's words."""

Tensors = Mapping[str, Array]

Row = tuple[str, str, Shape, Iterable[memoryview]]
"""A tensor as it is hashed: name, dtype, shape, and its bytes in pieces."""


def write(path: Path, tensors: Tensors, state: str) -> None:
    """Publish `path` in one rename: flushed to the disk and read back before, in pieces. A tensor
    is asked for when it is needed, and not held. OSError or CheckpointError where that fails;
    `path` is then as it was before."""
    words = {"format": "np", STATE: state, DIGEST: digest(tensors, state)}

    def check(part: Path) -> None:
        try:
            verify(part)
        except CheckpointError as error:
            why = "the disk or the memory is at fault"
            raise CheckpointError(f"{path}: reads back as something else: {why}") from error

    write_safetensors(path, tensors, words, check=check)


def digest(tensors: Tensors, state: str) -> str:
    """SHA-256 over the state and each tensor's name, dtype, shape and bytes, ordered by name."""
    return _digest(_rows(tensors), state)


def _digest(rows: Iterable[Row], state: str) -> str:
    found = hashlib.sha256(state.encode())
    for name, dtype, shape, pieces in rows:
        found.update(json.dumps([name, dtype, shape]).encode())
        for piece in pieces:
            found.update(piece)
    return found.hexdigest()


def _rows(tensors: Tensors) -> Iterator[Row]:
    for name in sorted(tensors):
        array = tensors[name]
        yield name, array.dtype.name, array.shape, [raw_bytes(array)]


def read(path: Path) -> tuple[dict[str, Array], str]:
    """Tensors and state of a file; CheckpointError where any bit of them is not what was written,
    OSError where it cannot be read."""
    try:
        tensors, header = read_safetensors(path)
    except ArgumentError as error:
        raise _damaged(error) from None
    state = _state_of(path, header)
    _require(path, header, digest(tensors, state))
    return tensors, state


def glance(path: Path) -> str:
    """The state of a file, whatever became of its tensors. Errors as `read`."""
    try:
        return _state_of(path, read_header(path))
    except ArgumentError as error:
        raise _damaged(error) from None


def verify(path: Path) -> str:
    """The state of a file whose bits are all what was written, read in pieces. Errors as `read`."""
    try:
        header, tensors = read_in_pieces(path, order=lambda entry: entry.name)
        state = _state_of(path, header)
        rows = ((e.name, np.dtype(DTYPES[e.dtype]).name, e.shape, p) for e, p in tensors)
        found = _digest(rows, state)
    except ArgumentError as error:
        raise _damaged(error) from None
    _require(path, header, found)
    return state


def _damaged(error: ArgumentError) -> CheckpointError:
    return CheckpointError(error.message, "truncated, or no checkpoint")


def _state_of(path: Path, header: Header) -> str:
    if STATE not in header.metadata or DIGEST not in header.metadata:
        raise CheckpointError(f"{path}: a safetensors file, but no checkpoint of a run")
    return header.metadata[STATE]


def _require(path: Path, header: Header, found: str) -> None:
    if found != header.metadata[DIGEST]:
        raise CheckpointError(f"{path}: damaged: its checksum differs from its content")
