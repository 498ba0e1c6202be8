"""Arrays in a .npz: images and labels, with no pickle in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.source import Arrays, numbered
from minidl.files.archives import opened_archive
from minidl.files.npz import read_npy
from minidl.ir import ArgumentError, Array

SPLIT = ("x_train", "y_train", "x_test", "y_test")
WHOLE = ("images", "labels")


def read_npz(path: str | os.PathLike[str]) -> tuple[Arrays, ...]:
    """Training and test images by x_train, y_train, x_test, y_test, or all by images, labels.

    Images (N, H, W, C) or (N, H, W) of uint8, float32 or float64. ArgumentError for other keys,
    arrays of objects, and headers that say more than the file can hold.
    """
    path = Path(path)
    try:
        keys, arrays = _arrays(path)
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read: {error}") from error
    classes = numbered(str(path), *arrays[1::2])
    return tuple(
        Arrays(_images(images), _column(labels), classes, f"{path}: {key}")
        for images, labels, key in zip(arrays[::2], arrays[1::2], keys[::2], strict=True)
    )


def _arrays(path: Path) -> tuple[tuple[str, ...], list[Array]]:
    """The keys that the archive has, and their arrays."""
    with opened_archive(path) as archive:
        names = archive.namelist()
        keys = next((k for k in (SPLIT, WHOLE) if {f"{n}.npy" for n in k} <= set(names)), None)
        if keys is None:
            raise ArgumentError(
                f"needs {', '.join(SPLIT)}, or {', '.join(WHOLE)}; "
                f"it has {', '.join(sorted(names)[:8])}"
            )
        return keys, [read_npy(archive, archive.getinfo(f"{key}.npy"), _check) for key in keys]


def _check(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf":
        raise ArgumentError(
            f"array {name} holds {dtype}: images are uint8 or float32, labels are integers"
        )


def _images(images: Array) -> Array:
    images = images[..., np.newaxis] if images.ndim == 3 else images
    return images.astype(np.float32) if images.dtype == np.float64 else images


def _column(labels: Array) -> Array:
    """(N,) from (N,) or (N, 1)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
