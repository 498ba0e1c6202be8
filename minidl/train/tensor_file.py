"""A safetensors file with the state of a run in its header, written so that it is whole or absent.

Eight bytes with the header's length, the header (JSON: dtype, shape and byte range of each tensor,
and strings as `__metadata__`), the tensors: github.com/huggingface/safetensors. Written here, since
the file must have the user's mode, reach the disk before it has its name, and leave no file of an
unknown name behind a process that was killed; read by the library, which trusts no header.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from minidl.interop.atomic import flush_folder
from minidl.ir import Array, CheckpointError

DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
"""NumPy's names and the format's."""

STATE, DIGEST = "state", "sha256"
"""Keys of the header's strings."""

Tensors = Mapping[str, Array]


def write(path: Path, tensors: Tensors, state: str) -> None:
    """Publish `path` in one rename: flushed to the disk and read back before. OSError or
    CheckpointError where that fails; `path` is then as it was before."""
    part = unfinished(path)
    try:
        with suppress(FileNotFoundError):
            part.unlink()
        with part.open("xb") as file:
            for piece in _pieces(tensors, state):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        read(part)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    flush_folder(path.parent)


def unfinished(path: Path) -> Path:
    """Where a file lies until it is whole."""
    return path.with_name(f".{path.name}.part")


def _pieces(tensors: Tensors, state: str) -> Iterator[bytes | memoryview]:
    entries: dict[str, object] = {
        "__metadata__": {"format": "np", STATE: state, DIGEST: digest(tensors, state)}
    }
    end = 0
    for name, array in tensors.items():
        start, end = end, end + array.nbytes
        dtype = DTYPES[array.dtype.name]
        entries[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [start, end]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    yield len(header).to_bytes(8, "little")
    yield header
    for array in tensors.values():
        yield _raw(array)


def _raw(array: Array) -> memoryview:
    """The elements in C order, little endian."""
    little = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return little.reshape(-1).view(np.uint8).data


def digest(tensors: Tensors, state: str) -> str:
    """SHA-256 over the state and each tensor's name, dtype, shape and bytes, ordered by name."""
    found = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        array = tensors[name]
        found.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        found.update(_raw(array))
    return found.hexdigest()


def read(path: Path) -> tuple[dict[str, Array], str]:
    """Tensors and state of a file; CheckpointError where any bit of them is not what was written,
    OSError where it cannot be read."""
    with path.open("rb"):
        pass  # an OSError that names the file
    try:
        with safe_open(path, "np") as file:
            words = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"{path}: truncated, or no checkpoint: {error}") from None
    if STATE not in words or DIGEST not in words:
        raise CheckpointError(f"{path}: a safetensors file, but no checkpoint of a run")
    if digest(tensors, words[STATE]) != words[DIGEST]:
        raise CheckpointError(f"{path}: damaged: its checksum differs from its content")
    return tensors, words[STATE]
