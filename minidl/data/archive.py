"""Images inside of a tar or a zip, which is read where it is: nothing is written to the disk."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from minidl.data.errors import BrokenImageError
from minidl.data.layout import images_in, is_image, require_unsplit
from minidl.data.listed import Listed
from minidl.data.source import source_in_words
from minidl.data.tree import ArchiveTree, is_litter
from minidl.files.contents import Contents, Parts
from minidl.files.tar import KEPT, Member, read_contents, read_part, split
from minidl.files.zip import Entry, read_entries, read_entry
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.printed import never_raises
from minidl.ir.readers import COUNT


class Packed(Protocol):
    """A file in an archive."""

    @property
    def place(self) -> tuple[int, ...]: ...


File = TypeVar("File", bound=Packed)


class ImageArchive(Listed[File]):
    """The images of an archive at `path`, which every read opens."""

    def __init__(self, path: Path, contents: Contents[File], top: Parts) -> None:
        tree = ArchiveTree(str(path), contents)
        require_unsplit(tree, top)
        self._take(path, tree, top)

    @classmethod
    def of_split(cls, path: Path, tree: ArchiveTree[File], top: Parts) -> ImageArchive[File]:
        """From an archive that is read already, so that two splits need one pass."""
        source = cls.__new__(cls)
        source._take(path, tree, top)
        return source

    def _take(self, path: Path, tree: ArchiveTree[File], top: Parts) -> None:
        Listed.__init__(self, images_in(tree, top), by_text=False)
        self.path = path

    def places_of(self, items: list[File]) -> Array:
        return np.array([item.place for item in items], np.int64)

    @never_raises
    def __repr__(self) -> str:
        return source_in_words(self, f"in {self.path}")

    def name(self, index: int) -> str:
        return f"{self.path}: {self.path_of(index)}"

    @abstractmethod
    def read(self, index: int) -> bytes:
        """An encoded image; BrokenImageError where it is no longer what it was."""


@called(readers={"limit": COUNT})
class ImageTar(ImageArchive[Member]):
    """`<prefix>/<class>/<anything>.jpg`, `.jpeg` or `.png` in a .tar, .tar.gz, .tar.bz2 or .tar.xz;
    folders mean what they mean to `ImageFolder`.

    A plain tar is read by offset, one open file a read. A compressed one is read once, and the
    encoded images below `prefix` stay in memory: `limit` bytes at most, `kept` says how many.
    Links, devices and sparse files are passed over. ArgumentError for a member that points
    outside (an absolute path or `..`), a tar cut short, too many bytes, no image, or splits.
    """

    def __init__(
        self, path: str | os.PathLike[str], prefix: str = "", *, limit: int = KEPT
    ) -> None:
        super().__init__(Path(path), tar_contents(Path(path), prefix, limit), split(prefix))

    def _take(self, path: Path, tree: ArchiveTree[Member], top: Parts) -> None:
        super()._take(path, tree, top)
        self.unpacked: Array | None = None if tree.kept is None else np.frombuffer(tree.kept, "u1")

    @property
    def kept(self) -> int:
        """Bytes of encoded images in memory."""
        return 0 if self.unpacked is None else int(self.places[:, 1].sum())

    def read(self, index: int) -> bytes:
        offset, size = self.places[index].tolist()
        if self.unpacked is not None:
            return self.unpacked[offset : offset + size].tobytes()
        raw = read_part(self.path, offset, size)
        if len(raw) != size:
            raise BrokenImageError(f"{self.name(index)}: the tar is shorter than it was")
        return raw


@called()
class ImageZip(ImageArchive[Entry]):
    """`<prefix>/<class>/<anything>.jpg`, `.jpeg` or `.png` in a .zip; folders mean what they mean
    to `ImageFolder`.

    Each read opens the file and unpacks one entry. Links are passed over. ArgumentError for an
    entry that points outside, a zip that is damaged or unpacks to more than 200 times its bytes, no
    image, or splits.
    """

    def __init__(self, path: str | os.PathLike[str], prefix: str = "") -> None:
        super().__init__(Path(path), zip_contents(Path(path)), split(prefix))

    def read(self, index: int) -> bytes:
        try:
            return read_entry(self.path, self.places[index].tolist())
        except ArgumentError as error:
            raise BrokenImageError(f"{self.name(index)}: {error.message}") from None


def tar_contents(path: Path, prefix: str = "", limit: int = KEPT) -> Contents[Member]:
    """What is in a tar, the images below a folder to be read."""
    top = split(prefix)
    return read_contents(path, lambda p: p[: len(top)] == top and _may_be_image(p), limit)


def zip_contents(path: Path) -> Contents[Entry]:
    """What is in a zip, the images to be read."""
    return read_entries(path, _may_be_image)


def _may_be_image(parts: Parts) -> bool:
    """Whether a file's bytes may be needed: those of litter are not."""
    return is_image(parts[-1]) and not any(map(is_litter, parts))
