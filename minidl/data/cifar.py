"""CIFAR-10 as its authors publish it: the binary version and the Python version.

A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from minidl.data.pickles import read_pickle
from minidl.data.source import Arrays, Splits
from minidl.data.tar import content, opened, split
from minidl.ir import ArgumentError, Array

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
    with opened(path) as (tar, _):
        first = [info.name for info, _ in zip(tar, range(4), strict=False)]
    return any(FILE.fullmatch(name.rpartition("/")[2]) for name in first)


def cifar10(path: str | os.PathLike[str]) -> Splits:
    """50,000 training and 10,000 test pictures (32, 32, 3) uint8.

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
    return Arrays(nhwc, labels, CLASSES, f"{path}: {start} picture")


def _read(where: str, name: str, raw: bytes) -> tuple[Array, Array]:
    """Pixels (N, 3072) uint8 and labels (N,) int64."""
    if name.endswith(".bin"):
        if not raw or len(raw) % (1 + PIXELS):
            raise ArgumentError(f"{where}: {len(raw):,} bytes are not records of {1 + PIXELS:,}")
        records = np.frombuffer(raw, np.uint8).reshape(-1, 1 + PIXELS)
        return records[:, 1:], records[:, 0].astype(np.int64)
    found = read_pickle(raw, where)
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
    return {name: file.read_bytes() for name, file in found.items()}


def _of_tar(path: Path) -> dict[str, bytes]:
    files = {}
    with opened(path) as (tar, _):
        for info in tar:
            name = (split(info.name, str(path)) or ("",))[-1]
            if info.isreg() and not info.issparse() and FILE.fullmatch(name):
                _check_size(f"{path}: {name}", info.size)
                files[name] = content(tar, info)
    return files


def _check_size(where: str, size: int) -> None:
    if size > LARGEST:
        raise ArgumentError(f"{where}: {size:,} bytes are too many for a file of CIFAR-10")
