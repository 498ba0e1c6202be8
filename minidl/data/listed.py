"""Images that lie in a tree of folders: their classes, labels and names, whatever reads them."""

from __future__ import annotations

import unicodedata
from typing import Generic

import numpy as np

from minidl.data.layout import Images
from minidl.data.tree import Item
from minidl.ir import Array


class Listed(Generic[Item]):
    """A source's list; `items[i]` is what image i is read by.

    classes  sorted by name
    passed   the files and folders that are none of the images
    """

    def __init__(self, found: Images[Item], by_text: bool) -> None:
        """by_text: sorted by the whole path, not by its parts."""
        every = {path: item for images in found.classes.values() for path, item in images.items()}
        self.paths = sorted(every, key="/".join if by_text else None)
        self.items = [every[path] for path in self.paths]
        self.passed, self.top = found.passed, found.top
        self.classes = tuple(sorted(found.classes))
        number = {name: i for i, name in enumerate(self.classes)}
        self.labels: Array = np.array([number[path[0]] for path in self.paths], np.int64)

    def __len__(self) -> int:
        return len(self.items)

    def key(self, index: int) -> bytes:
        """What an image is held out by: its path from the folder of the classes on, in NFC, so
        that the folder may be moved, renamed or packed."""
        text = unicodedata.normalize("NFC", "/".join(self.paths[index]))
        return text.encode("utf-8", "surrogateescape")
