"""Images in folders, one folder a class."""

from __future__ import annotations

import os
from pathlib import Path

from minidl.data.errors import BrokenImageError
from minidl.data.layout import images_in, require_unsplit
from minidl.data.listed import Listed
from minidl.data.source import source_in_words
from minidl.data.tree import FolderTree
from minidl.files.contents import Parts
from minidl.files.opening import read_bytes
from minidl.ir import ArgumentError
from minidl.ir.calls import called
from minidl.ir.printed import never_raises


@called(
    "write ImageFolder(folder): how images are cut is the loader's transform",
    root="folder",
    transform="",
)
class ImageFolder(Listed[str]):
    """`<class>/<anything>.jpg`, `.jpeg` or `.png` below a folder; classes sorted by name.

    Where the folder has just one folder, and that one has others, those are the classes. Folders in
    a class's folder are looked through too. Links are followed; no folder is entered twice in a
    class. Hidden files, those of systems and others that are no images are passed over: `passed`
    names them. ArgumentError where there is no image, a class has none, or the folders are splits.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        tree = FolderTree(Path(folder))
        require_unsplit(tree)
        self._take(tree, ())

    @classmethod
    def of_split(cls, tree: FolderTree, top: Parts) -> ImageFolder:
        """The classes in one of a folder's folders."""
        source = cls.__new__(cls)
        source._take(tree, top)
        return source

    def _take(self, tree: FolderTree, top: Parts) -> None:
        super().__init__(images_in(tree, top), by_text=True)
        self.folder = tree.root

    @never_raises
    def __repr__(self) -> str:
        return source_in_words(self, f"in {self.folder}")

    def name(self, index: int) -> str:
        return str(self.folder / self.path_of(index))

    def read(self, index: int) -> bytes:
        return read_image(self.folder / self.path_of(index))


def read_image(path: Path) -> bytes:
    """An encoded image; OSError where it cannot be read, BrokenImageError where it is no file."""
    try:
        return read_bytes(path)
    except ArgumentError as error:
        raise BrokenImageError(error.message) from None
