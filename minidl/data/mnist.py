"""MNIST and its kin: images and labels in idx files, compressed or not.

Y. LeCun, C. Cortes, C. Burges, *The MNIST database of handwritten digits*.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from minidl.data.source import Arrays, Splits
from minidl.files.archives import opened_gzip
from minidl.files.words import is_shape
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called

STEMS = ("train", "t10k")
"""Training and test."""


def is_mnist(folder: Path) -> bool:
    return bool(_folders(folder))


def _folders(folder: Path) -> list[Path]:
    """The folders with the files: this one, or as torchvision lays them out, raw and MNIST/raw."""
    for places in ([folder], [folder / "raw"], sorted(folder.glob("*/raw"))):
        if found := [place for place in places if _find(place, "train-images", 3) is not None]:
            return found
    return []


@called()
def mnist(folder: str | os.PathLike[str]) -> Splits:
    """60,000 training and 10,000 test images (28, 28, 1) uint8, or whatever the headers say.

    The files are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-...`, each with .gz or
    without, here or in `raw` or `MNIST/raw` below, where torchvision puts them: a note says where.
    ArgumentError for a missing file, a wrong magic, a size that is not the header's, or several
    data sets.
    """
    given, folders = Path(folder), _folders(Path(folder))
    if len(folders) > 1:
        names = ", ".join(found.relative_to(given).as_posix() for found in folders[:5])
        raise ArgumentError(f"{given}: {len(folders)} data sets, {names}", "name one of them")
    folder = folders[0] if folders else given
    notes = (
        ()
        if folder == given
        else (f"the images are those of {folder.relative_to(given).as_posix()}",)
    )
    classes = tuple(map(str, range(10)))
    train, test = (
        Arrays(
            _read(folder, f"{stem}-images", 3)[..., np.newaxis],
            _read(folder, f"{stem}-labels", 1),
            classes,
            f"{_find(folder, f'{stem}-images', 3)}: image",
        )
        for stem in STEMS
    )
    return Splits("mnist", train, test, notes=notes)


def _find(folder: Path, stem: str, dimensions: int) -> Path | None:
    names = [f"{stem}{dot}idx{dimensions}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).exists()), None)


def _read(folder: Path, stem: str, dimensions: int) -> Array:
    path = _find(folder, stem, dimensions)
    if path is None:
        raise ArgumentError(f"{folder}: no file {stem}-idx{dimensions}-ubyte or .gz of it")
    with opened_gzip(path) as (file, most):
        return _idx(file, path, dimensions, most)


def _idx(file: BinaryIO, path: Path, dimensions: int, most: int) -> Array:
    """uint8 array of `dimensions`; `most` is how many bytes the file could have."""
    header = np.frombuffer(file.read(4 + 4 * dimensions), np.uint8)
    if len(header) != 4 + 4 * dimensions or header[:4].tolist() != [0, 0, 8, dimensions]:
        raise ArgumentError(f"{path}: not an idx file of bytes with {dimensions} dimensions")
    shape = tuple(int(n) for n in header[4:].view(">u4"))
    size = math.prod(shape)
    if size + len(header) > most or not is_shape(shape, 1):
        raise ArgumentError(f"{path}: the header says {shape}, which the file cannot hold")
    raw = file.read(size + 1)
    if len(raw) != size:
        raise ArgumentError(f"{path}: the header says {shape}, the file has other bytes")
    return np.frombuffer(raw, np.uint8).reshape(shape)
