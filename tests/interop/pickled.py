"""Checkpoints made by hand: pickles opcode by opcode, and the archive that PyTorch puts them in."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from minidl.ir import Array

PROTO, STOP = b"\x80\x02", b"."


def word(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def name(module: str, own: str) -> bytes:
    return f"c{module}\n{own}\n".encode()


def several(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def numbers(values: tuple[int, ...]) -> bytes:
    return several(*map(number, values))


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + several(*arguments) + b"R"


EMPTY = called(name("collections", "OrderedDict"))


def storage(key: str, size: int, kind: str = "FloatStorage") -> bytes:
    described = word("storage"), name("torch", kind), word(key), word("cpu"), number(size)
    return several(*described) + b"Q"


def tensor(
    stored: bytes, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, *bits: bytes
) -> bytes:
    rest = number(offset), numbers(shape), numbers(strides), b"\x89", EMPTY, *bits
    return called(name("torch._utils", "_rebuild_tensor_v2"), stored, *rest)


def bits(**values: bool) -> bytes:
    """What a tensor has as its last argument where a bit is set: a map of booleans."""
    items = b"".join(word(key) + (b"\x88" if value else b"\x89") for key, value in values.items())
    return b"}(" + items + b"u"


def state_dict(tensors: dict[str, bytes]) -> bytes:
    """An OrderedDict of them with `_metadata`, as `Module.state_dict` makes it."""
    items = b"".join(word(key) + value for key, value in tensors.items())
    return EMPTY + b"(" + items + b"u}" + word("_metadata") + EMPTY + b"sb"


def pickle_of(value: bytes) -> bytes:
    return PROTO + value + STOP


def archive(
    pickled: bytes,
    storages: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
    **more: bytes,
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr("archive/data.pkl", pickled)
        for key, raw in (storages or {}).items():
            made.writestr(f"archive/data/{key}", raw)
        for entry, raw in more.items():
            made.writestr(entry, raw)
    return file.getvalue()


def checkpoint(arrays: dict[str, Array], order: str = "<") -> bytes:
    """A .pth of float32 arrays, each with a storage of its own."""
    tensors, storages = {}, {}
    for i, (own, array) in enumerate(arrays.items()):
        steps = tuple(s // array.itemsize for s in np.ascontiguousarray(array).strides)
        steps = steps[: array.ndim]
        tensors[own] = tensor(storage(str(i), array.size), array.shape, steps)
        storages[str(i)] = array.astype(f"{order}f4").tobytes()
    byteorder: dict[str, Any] = {"archive/byteorder": {"<": b"little", ">": b"big"}[order]}
    return archive(pickle_of(state_dict(tensors)), storages, **byteorder)


def written(folder: Path, content: bytes, file: str = "weights.pth") -> Path:
    path = folder / file
    path.write_bytes(content)
    return path
