"""Images in folders, one folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from minidl.data.errors import BrokenImageError
from minidl.files.opening import read_bytes
from minidl.ir import ArgumentError, Array

EXTENSIONS = (".jpg", ".jpeg", ".png")
LAYOUT = f"<class>/<anything>, with {', '.join(EXTENSIONS)} in any case"


class ImageFolder:
    """`<class>/<anything>.jpg`, `.jpeg` or `.png` below a folder; classes sorted by name.

    Folders in a class's folder are looked through too, links to folders are not. ArgumentError
    where there is no image.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ArgumentError(f"{self.folder}: no such folder")
        self.paths = sorted(self._images())
        self.classes, self.labels = classes_of(
            (path.split("/", 1)[0] for path in self.paths), str(self.folder)
        )

    def _images(self) -> Iterable[str]:
        for above, _, names in os.walk(self.folder):
            below = Path(above).relative_to(self.folder)
            if below.parts:
                yield from ((below / name).as_posix() for name in names if is_image(name))

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return str(self.folder / self.paths[index])

    def key(self, index: int) -> str:
        """The image's name in the folder, wherever that is."""
        return self.paths[index]

    def read(self, index: int) -> bytes:
        return read_image(self.folder / self.paths[index])


def read_image(path: Path) -> bytes:
    """An encoded image; OSError where it cannot be read, BrokenImageError where it is no file."""
    try:
        return read_bytes(path)
    except ArgumentError as error:
        raise BrokenImageError(error.message) from None


def is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def classes_of(names: Iterable[str], where: str) -> tuple[tuple[str, ...], Array]:
    """The classes, sorted, and the label (int64) of each image, by its class's name."""
    of_each = list(names)
    if not of_each:
        raise ArgumentError(f"{where}: no image found; expected {LAYOUT}")
    classes = tuple(sorted(set(of_each)))
    number = {name: i for i, name in enumerate(classes)}
    return classes, np.array([number[name] for name in of_each], np.int64)
