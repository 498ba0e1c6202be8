"""Images that lie in a tree of folders: their classes, labels and names, whatever reads them."""

from __future__ import annotations

import copy
import unicodedata
from typing import Generic, TypeVar

import numpy as np

from minidl.data.layout import Images
from minidl.data.names import Names
from minidl.data.tree import Item
from minidl.ir import Array

Same = TypeVar("Same", bound="Listed")  # type: ignore[type-arg]


def _parts(path: str) -> list[str]:
    return path.split("/")


class Listed(Generic[Item]):
    """A source's list, in arrays: worker processes share them, see `minidl.data.worker`.

    names    by image its path from the folder of the classes on
    places   by image the numbers by which it is read, where its name is not enough
    classes  sorted by name
    passed   the files and folders that are none of the images
    """

    def __init__(self, found: Images[Item], by_text: bool) -> None:
        """by_text: sorted by the whole path, not by its parts."""
        every: dict[str, Item] = {}
        for images in found.classes.values():
            every |= images
        paths = sorted(every, key=None if by_text else _parts)
        self.names = Names(paths)
        self.places = self.places_of([every[path] for path in paths])
        self.passed, self.top = found.passed, found.top
        self.classes = tuple(sorted(found.classes))
        number = {name: i for i, name in enumerate(self.classes)}
        self.labels: Array = np.array([number[p[: p.index("/")]] for p in paths], np.int64)

    def places_of(self, items: list[Item]) -> Array:
        """By image the numbers by which it is read."""
        return np.empty((len(items), 0), np.int64)

    def path_of(self, index: int) -> str:
        """The image's path from the root of the tree on."""
        return "/".join((*self.top, self.names[index]))

    def taken(self: Same, indices: Array) -> Same:
        """Those images, in that order, as a source of their own."""
        source = copy.copy(self)
        source.names, source.labels = self.names.taken(indices), self.labels[indices]
        source.places = self.places[indices]
        return source

    def __len__(self) -> int:
        return len(self.names)

    def key(self, index: int) -> bytes:
        """What an image is held out by: its path from the folder of the classes on, in NFC, so
        that the folder may be moved, renamed or packed."""
        text = unicodedata.normalize("NFC", self.names[index])
        return text.encode("utf-8", "surrogateescape")
