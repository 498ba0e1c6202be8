"""Folders and files as they lie, on the disk or in an archive: what a layout is read from."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping
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

FIRST = frozenset({".", *(name[0] for name in SYSTEM), *(name[0].upper() for name in SYSTEM)})
"""How names of litter begin."""

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

    def below(
        self, folder: Parts, passed: Passed
    ) -> Iterator[tuple[Parts, Mapping[str, Item_co | None]]]:
        """The files in a folder and in those in it, some of one folder at a time, litter added to
        `passed`: that folder's path from the root, and by name what a file is read by; None where
        it cannot be read."""


def is_litter(name: str) -> bool:
    # the first letter says of most names that they are none: lists have a million
    return name[:1] in FIRST and (name.startswith(".") or name.lower() in SYSTEM)


class FolderTree:
    """A folder on the disk; links are followed. A file is read by its name."""

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, str(root)

    def inside(self, folder: Parts, passed: Passed) -> Inside:
        if not folder and not self.root.is_dir():
            raise ArgumentError(f"{self.root}: no such folder")
        folders: list[str] = []
        files: list[str] = []
        nowhere: set[str] = set()
        with os.scandir(self.root.joinpath(*folder)) as entries:
            for entry in entries:
                if not entry.is_symlink():  # what it is comes with the entry
                    (folders if entry.is_dir() else files).append(entry.name)
                elif os.path.isdir(entry.path):
                    folders.append(entry.name)
                else:
                    files.append(entry.name)
                    if not os.path.exists(entry.path):
                        nowhere.add(entry.name)
        return _without_litter(folder, folders, files, passed, nowhere)

    def below(self, folder: Parts, passed: Passed) -> Iterator[tuple[Parts, dict[str, str]]]:
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
            yield now, dict(zip(inside.files, inside.files, strict=True))

    def _identity(self, folder: Parts) -> tuple[int, int]:
        where = self.root.joinpath(*folder).stat()
        return where.st_dev, where.st_ino


def _without_litter(
    folder: Parts,
    folders: Iterable[str],
    files: Iterable[str],
    passed: Passed,
    nowhere: Container[str] = (),
) -> Inside:
    """What lies in a folder, in order; its litter and links that lead nowhere are added to
    `passed`."""
    found = Inside(sorted(folders), sorted(files))
    for names, note in ((found.files, passed.file), (found.folders, passed.folder)):
        litter = [name for name in names if is_litter(name) or name in nowhere]
        for name in litter:
            note(*folder, name)
        if litter:
            left = set(names).difference(litter)
            names[:] = filter(left.__contains__, names)
    return found


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
        return _without_litter(folder, folders, files, passed)

    def below(
        self, folder: Parts, passed: Passed
    ) -> Iterator[tuple[Parts, dict[str, Item | None]]]:
        depth = len(folder)
        for parts in self._paths(folder):
            litter = next((i for i in range(depth, len(parts)) if is_litter(parts[i])), None)
            if litter is None:
                yield parts[:-1], {parts[-1]: self.files[parts]}
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
