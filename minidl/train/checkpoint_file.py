"""A checkpoint's file: safetensors, the state of a run in its header, a digest over both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from minidl.files.safetensors import raw_bytes, read_safetensors, write_safetensors
from minidl.ir import ArgumentError, Array, CheckpointError

STATE, DIGEST = "state", "sha256"
"""Keys of the header's words."""

Tensors = Mapping[str, Array]


def write(path: Path, tensors: Tensors, state: str) -> None:
    """Publish `path` in one rename: flushed to the disk and read back before. OSError or
    CheckpointError where that fails; `path` is then as it was before."""
    words = {"format": "np", STATE: state, DIGEST: digest(tensors, state)}
    write_safetensors(path, tensors, words, check=read)


def digest(tensors: Tensors, state: str) -> str:
    """SHA-256 over the state and each tensor's name, dtype, shape and bytes, ordered by name."""
    found = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        array = tensors[name]
        found.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        found.update(raw_bytes(array))
    return found.hexdigest()


def read(path: Path) -> tuple[dict[str, Array], str]:
    """Tensors and state of a file; CheckpointError where any bit of them is not what was written,
    OSError where it cannot be read."""
    try:
        tensors, header = read_safetensors(path)
    except ArgumentError as error:
        raise CheckpointError(error.message, "truncated, or no checkpoint") from None
    words = header.metadata
    if STATE not in words or DIGEST not in words:
        raise CheckpointError(f"{path}: a safetensors file, but no checkpoint of a run")
    if digest(tensors, words[STATE]) != words[DIGEST]:
        raise CheckpointError(f"{path}: damaged: its checksum differs from its content")
    return tensors, words[STATE]
