"""Folders and files as they lie, on the disk or in an archive: what a layout is read from."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from minidl.files.contents import Contents, Parts
from minidl.ir import ArgumentError

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)

SYSTEM = (
    *("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"),
    *("thumbs.db", "desktop.ini"),
)
"""What systems leave in folders, in small letters; names with a dot in front are others."""

DEEPEST = 64
"""Folders in folders."""


@dataclass
class Passed:
    """What was passed over, by its path from the root."""

    files: dict[str, None] = field(default_factory=dict)
    folders: dict[str, None] = field(default_factory=dict)

    def file(self, *parts: str) -> None:
        self.files["/".join(parts)] = None

    def folder(self, *parts: str) -> None:
        self.folders["/".join(parts)] = None

    def update(self, more: Passed) -> None:
        self.files |= more.files
        self.folders |= more.folders


@dataclass
class Inside:
    """What lies in one folder but litter: names, in order."""

    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


class Tree(Protocol[Item_co]):
    """Folders in folders, and files."""

    @property
    def where(self) -> str:
        """What to call it in a message."""

    def inside(self, folder: Parts, passed: Passed) -> Inside:
        """What lies in a folder; its litter is added to `passed`."""

    def below(self, folder: Parts, passed: Passed) -> Iterator[tuple[Parts, Item_co | None]]:
        """Every file in a folder and in those in it, litter added to `passed`: its path from the
        root, and what it is read by; None where it cannot be read."""


def is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM


class FolderTree:
    """A folder on the disk; links are followed. A file is read by its path from the root."""

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, str(root)

    def inside(self, folder: Parts, passed: Passed) -> Inside:
        if not folder and not self.root.is_dir():
            raise ArgumentError(f"{self.root}: no such folder")
        found = Inside()
        with os.scandir(self.root.joinpath(*folder)) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                is_folder = os.path.isdir(entry.path)  # of a link that leads to itself: no
                if is_litter(entry.name):
                    (passed.folder if is_folder else passed.file)(*folder, entry.name)
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    passed.file(*folder, entry.name)  # it leads nowhere
                else:
                    (found.folders if is_folder else found.files).append(entry.name)
        return found

    def below(self, folder: Parts, passed: Passed) -> Iterator[tuple[Parts, str]]:
        """No folder is entered twice, however many links lead to it."""
        entered = {self._identity(folder[:end]) for end in range(len(folder))}
        waiting = [folder]
        while waiting:
            now = waiting.pop()
            identity = self._identity(now)
            if identity in entered or len(now) > DEEPEST:
                passed.folder(*now)
                continue
            entered.add(identity)
            inside = self.inside(now, passed)
            waiting += [(*now, name) for name in reversed(inside.folders)]
            yield from (((*now, name), "/".join((*now, name))) for name in inside.files)

    def _identity(self, folder: Parts) -> tuple[int, int]:
        where = self.root.joinpath(*folder).stat()
        return where.st_dev, where.st_ino


class ArchiveTree(Generic[Item]):
    """The members of an archive, by their paths in it; what else it has cannot be read."""

    def __init__(self, where: str, contents: Contents[Item]) -> None:
        self.where, self.folders, self.kept = where, contents.folders, contents.kept
        files: dict[Parts, Item | None] = {**dict.fromkeys(contents.others), **contents.members}
        self.files = files
        self.paths = sorted(files)

    def inside(self, folder: Parts, passed: Passed) -> Inside:
        depth = len(folder)
        folders = {p[depth] for p in self.folders if p[:depth] == folder and len(p) > depth}
        files: set[str] = set()
        for parts in self._paths(folder):
            (files if len(parts) == depth + 1 else folders).add(parts[depth])
        if not files and not folders and folder not in self.folders:
            raise ArgumentError(f"{self.where}: no folder {'/'.join(folder)} in it")
        for kind, note in ((files, passed.file), (folders, passed.folder)):
            for name in sorted(filter(is_litter, kind)):
                note(*folder, name)
        return Inside(*(sorted(n for n in kind if not is_litter(n)) for kind in (folders, files)))

    def below(self, folder: Parts, passed: Passed) -> Iterator[tuple[Parts, Item | None]]:
        depth = len(folder)
        for parts in self._paths(folder):
            litter = next((i for i in range(depth, len(parts)) if is_litter(parts[i])), None)
            if litter is None:
                yield parts, self.files[parts]
            elif litter == len(parts) - 1:
                passed.file(*parts)
            else:
                passed.folder(*parts[: litter + 1])

    def _paths(self, folder: Parts) -> Iterator[Parts]:
        """The files in a folder and in those in it, in order."""
        depth = len(folder)
        for i in range(bisect_right(self.paths, folder), len(self.paths)):
            if self.paths[i][:depth] != folder:
                return
            yield self.paths[i]
