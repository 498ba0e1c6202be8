"""CIFAR-10 as its authors publish it: the binary version and the Python version.

A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.source import Arrays, Splits
from minidl.files.opening import read_bytes
from minidl.files.pickle import Allowed, read_pickle
from minidl.files.tar import first_names, read_files
from minidl.files.words import shown
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PIXELS = 3 * 32 * 32
LARGEST = 64 * 2**20
"""Bytes; the real files have 31 million."""

FILE = re.compile(r"(data_batch_\d+|test_batch)(\.bin)?")


def is_cifar(path: Path) -> bool:
    """Whether a folder has the files, or a tar its name for them at the front."""
    if path.is_dir():
        return any(FILE.fullmatch(found.name) for found in _files(path))
    return any(_file_of(name) for name in first_names(path, 4))


@called()
def cifar10(path: str | os.PathLike[str]) -> Splits:
    """50,000 training and 10,000 test images (32, 32, 3) uint8.

    `path` is the folder with `data_batch_1` or `data_batch_1.bin` and so on, the folder above it,
    or the .tar.gz. Pickles are read strictly: nothing in them is run. ArgumentError where files
    lack or are not what they should be.
    """
    path = Path(path)
    files = _of_folder(path) if path.is_dir() else _of_tar(path)
    return Splits("cifar10", _arrays(path, "data_batch", files), _arrays(path, "test_batch", files))


def _arrays(path: Path, start: str, files: dict[str, bytes]) -> Arrays:
    names = sorted(name for name in files if name.startswith(start))
    if not names:
        raise ArgumentError(f"{path}: no file {start}*")
    read = [_read(f"{path}: {name}", name, files[name]) for name in names]
    images, labels = (np.concatenate(arrays) for arrays in zip(*read, strict=True))
    nhwc = np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Arrays(nhwc, labels, CLASSES, f"{path}: {start} image")


def _read(where: str, name: str, raw: bytes) -> tuple[Array, Array]:
    """Pixels (N, 3072) uint8 and labels (N,) int64."""
    if name.endswith(".bin"):
        if not raw or len(raw) % (1 + PIXELS):
            raise ArgumentError(f"{where}: {len(raw):,} bytes are not records of {1 + PIXELS:,}")
        records = np.frombuffer(raw, np.uint8).reshape(-1, 1 + PIXELS)
        if (largest := int(records[:, 0].max())) >= len(CLASSES):
            raise ArgumentError(f"{where}: label {largest}: 0 to {len(CLASSES) - 1} are expected")
        return records[:, 1:], records[:, 0].astype(np.int64)
    found = unpickled(raw, where)
    data, labels = found.get("data"), found.get("labels")
    whole = isinstance(labels, list) and all(type(label) is int for label in labels)
    if not isinstance(data, np.ndarray) or not isinstance(labels, list) or not whole:
        raise ArgumentError(f"{where}: no array `data` and list of numbers `labels`")
    if data.shape != (len(labels), PIXELS) or not all(0 <= label < 10 for label in labels):
        raise ArgumentError(f"{where}: {data.shape} pixels and {len(labels)} labels do not fit")
    return data, np.array(labels, np.int64)


def _files(path: Path) -> list[Path]:
    return [file for folder in (path, *path.glob("cifar-10-*")) for file in folder.glob("*_batch*")]


def _of_folder(path: Path) -> dict[str, bytes]:
    found = {file.name: file for file in _files(path) if FILE.fullmatch(file.name)}
    for file in found.values():
        _check_size(str(file), file.stat().st_size)
    return {name: read_bytes(file) for name, file in found.items()}


def _of_tar(path: Path) -> dict[str, bytes]:
    files = read_files(path, _file_of, largest=LARGEST)
    return {parts[-1]: raw for parts, raw in files.items()}


def _file_of(name: str) -> bool:
    """Whether a path in a tar is that of one of the files."""
    return FILE.fullmatch(name.rpartition("/")[2]) is not None


def _check_size(where: str, size: int) -> None:
    if size > LARGEST:
        raise ArgumentError(f"{where}: {size:,} bytes are too many for a file of CIFAR-10")


# -- the Python version ----------------------------------------------------------------------------


@dataclass
class _Bytes:
    """What stands for a numpy.ndarray: bytes in C order, of which the pickle keeps the only copy.
    Text stands for bytes, a letter for each, as in pickles of Python 2."""

    shape: Any = ()
    raw: bytes | str = b""

    def array(self) -> Array:
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw
        return np.frombuffer(raw, np.uint8).reshape(self.shape)


class _Dtype:
    """numpy.dtype("u1"), the only one."""


def _reconstruct(*_: object) -> _Bytes:
    return _Bytes()


def _dtype(code: object = None, *_: object) -> _Dtype:
    if code not in ("u1", b"u1"):
        raise ArgumentError(f"an array of {shown(code)}: bytes are expected")
    return _Dtype()


def _encode(text: object = None, encoding: object = None) -> str:
    """_codecs.encode, by which Python 3 writes bytes in old protocols; they stay text here."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ArgumentError(f"text in the encoding {shown(encoding)}: latin1 is expected")
    return text


def _set_array(array: _Bytes, state: object) -> None:
    if not isinstance(state, tuple) or len(state) != 5:
        raise ArgumentError("an array whose state is none")
    _, shape, dtype, fortran, raw = state
    if not isinstance(dtype, _Dtype) or not isinstance(raw, (bytes, str)) or fortran:
        raise ArgumentError("an array that is not of bytes in C order")
    array.shape, array.raw = shape, raw


def _set_dtype(_: _Dtype, __: object) -> None:
    """Byte order and the like, which bytes do not have."""


ALLOWED = Allowed(
    calls={
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _encode,
    },
    words=frozenset([("numpy", "ndarray")]),
    states={_Bytes: _set_array, _Dtype: _set_dtype},
    longest=LARGEST,
)
"""What a file of CIFAR-10 may say."""


def unpickled(raw: bytes, where: str) -> dict[str, object]:
    """A dictionary of numbers, text and lists, its keys as text, `data` an array of bytes.

    ArgumentError for anything else; nothing that the pickle names is imported or called.
    """
    try:
        found = read_pickle(raw, ALLOWED)
        if not isinstance(found, dict):
            raise ArgumentError("not a dictionary")
        named = {_text(key): value for key, value in found.items()}
        data = named.get("data")
        return {**named, "data": data.array()} if isinstance(data, _Bytes) else named
    except ArgumentError as error:
        raise error.at(f"{where}: refused as a pickle") from None
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{where}: refused as a pickle: {error}") from None


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)
