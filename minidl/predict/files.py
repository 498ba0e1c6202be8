"""Which image files are meant: those that are named, and all that lie in folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from minidl.data.layout import EXTENSIONS, is_image, told
from minidl.data.opening import ARCHIVES
from minidl.data.tree import FolderTree, Passed
from minidl.ir import ArgumentError
from minidl.ir.calls import called

UNPACK = "unpack it and name the folder"


@dataclass(frozen=True)
class ImageFiles:
    """Files, and what was passed over, a line a folder and kind."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


@called()
def image_files(paths: Iterable[str | Path]) -> ImageFiles:
    """Files as they are named; of a folder its images, .jpg, .jpeg and .png, and those of the
    folders in it, in the order of their names.

    Links are followed, no folder is entered twice. ArgumentError where there is no image at all,
    and of an archive, which is not looked into.
    """
    given = tuple(map(Path, paths))
    if packed := [str(path) for path in given if path.is_file() and _is_archive(path)]:
        raise ArgumentError(f"{', '.join(packed)}: images are not read in an archive", UNPACK)
    files: list[Path] = []
    notes: list[str] = []
    empty: list[str] = []
    for path in given:
        if not path.is_dir():
            files.append(path)
            continue
        inside, passed = _inside(path)
        files += inside
        empty += [] if inside else [str(path)]
        notes += [f"{path}: {note}" for note in told(passed)]
    if not files:
        raise ArgumentError(
            f"no image in {', '.join(empty) or 'what is named'}; expected {', '.join(EXTENSIONS)}"
        )
    return ImageFiles(tuple(files), (*notes, *(f"{path}: no image in it" for path in empty)))


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVES)


def _inside(folder: Path) -> tuple[list[Path], Passed]:
    passed, files = Passed(), []
    for parts, names in FolderTree(folder).below((), passed):
        for name in names:
            if is_image(name):
                files.append(folder.joinpath(*parts, name))
            else:
                passed.file(*parts, name)
    return files, passed
