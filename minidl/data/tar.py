"""Images inside of a tar, which is read where it is: nothing is ever written to the disk."""

from __future__ import annotations

import os
from pathlib import Path

from minidl.data.errors import BrokenImageError
from minidl.data.folder import classes_of, is_image
from minidl.files.tar import KEPT, Member, read_members, split


class ImageTar:
    """`<prefix>/<class>/<anything>.jpg`, `.jpeg` or `.png` in a .tar, .tar.gz, .tar.bz2 or .tar.xz.

    A plain tar is read by offset, one open file a read. A compressed one is read once, and the
    encoded images below `prefix` stay in memory: `limit` bytes at most, `kept` says how many.
    Links, devices and sparse files are passed over. ArgumentError for a member that points
    outside (an absolute path or `..`), a tar cut short, too many bytes, or no image.
    """

    def __init__(self, path: str | os.PathLike[str], prefix: str = "", limit: int = KEPT) -> None:
        self._take(Path(path), prefix, read_members(Path(path), is_image, prefix, limit))

    @classmethod
    def of_members(cls, path: Path, prefix: str, members: list[Member]) -> ImageTar:
        """From members that are read already, so that two splits need one pass."""
        tar = cls.__new__(cls)
        tar._take(path, prefix, members)
        return tar

    def _take(self, path: Path, prefix: str, members: list[Member]) -> None:
        top = split(prefix)
        inner = [m for m in members if m.parts[: len(top)] == top and len(m.parts) > len(top) + 1]
        self.path, self.members = path, sorted(inner, key=lambda m: m.parts)
        where = f"{path}, below {prefix}" if prefix else str(path)
        self.classes, self.labels = classes_of((m.parts[len(top)] for m in self.members), where)

    @property
    def kept(self) -> int:
        """Bytes of encoded images in memory."""
        return sum(len(member.raw) for member in self.members if member.raw is not None)

    def __len__(self) -> int:
        return len(self.members)

    def name(self, index: int) -> str:
        return f"{self.path}: {'/'.join(self.members[index].parts)}"

    def key(self, index: int) -> str:
        """The image's name in the tar, wherever that is."""
        return "/".join(self.members[index].parts)

    def read(self, index: int) -> bytes:
        member = self.members[index]
        raw = member.read(self.path)
        if len(raw) != member.size:
            raise BrokenImageError(f"{self.name(index)}: the tar is shorter than it was")
        return raw
