"""Arrays in a .npz: pictures and labels, with no pickle in them."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.mnist import DEFLATE
from minidl.data.source import Arrays, numbered
from minidl.ir import ArgumentError, Array

SPLIT = ("x_train", "y_train", "x_test", "y_test")
WHOLE = ("images", "labels")


def read_npz(path: str | os.PathLike[str]) -> tuple[Arrays, ...]:
    """Training and test pictures by x_train, y_train, x_test, y_test, or all by images, labels.

    Pictures (N, H, W, C) or (N, H, W) of uint8, float32 or float64. ArgumentError for other keys,
    arrays of objects, and headers that say more than the file can hold.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            keys = next((k for k in (SPLIT, WHOLE) if {f"{n}.npy" for n in k} <= names), None)
            if keys is None:
                raise ArgumentError(
                    f"{path}: needs {', '.join(SPLIT)}, or {', '.join(WHOLE)}; "
                    f"it has {', '.join(sorted(names)[:8])}"
                )
            arrays = [_array(archive, f"{key}.npy", path) for key in keys]
    except (
        OSError,
        ValueError,
        EOFError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as e:
        if isinstance(e, ArgumentError):
            raise
        raise ArgumentError(f"{path}: cannot be read: {e}") from e
    classes = numbered(str(path), *arrays[1::2])
    return tuple(
        Arrays(_pictures(images), _column(labels), classes, f"{path}: {key}")
        for images, labels, key in zip(arrays[::2], arrays[1::2], keys[::2], strict=True)
    )


def _array(archive: zipfile.ZipFile, name: str, path: Path) -> Array:
    info = archive.getinfo(name)
    with archive.open(info) as file:
        header = _header(file)
        if header is None:
            raise ArgumentError(f"{path}: {name} is not an array that is read here")
        shape, fortran, dtype = header
        if dtype.hasobject:
            raise ArgumentError(f"{path}: {name} holds Python objects, which are not read")
        size = math.prod(shape) * dtype.itemsize
        if (
            min(shape, default=0) < 0
            or size > info.file_size
            or info.file_size > DEFLATE * (info.compress_size + 1)
        ):
            raise ArgumentError(f"{path}: {name} says {shape}, which the file cannot hold")
        raw = file.read(size)
    if len(raw) != size:
        raise ArgumentError(f"{path}: {name} is cut short")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]] | None:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    return None


def _pictures(images: Array) -> Array:
    images = images[..., np.newaxis] if images.ndim == 3 else images
    return images.astype(np.float32) if images.dtype == np.float64 else images


def _column(labels: Array) -> Array:
    """(N,) from (N,) or (N, 1)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
