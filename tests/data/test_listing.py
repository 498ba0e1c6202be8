"""Folders as they are listed, against every path looked at by itself."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from minidl.data import ImageFolder
from minidl.data.layout import is_image
from minidl.data.tree import SYSTEM, is_litter

SUFFIXES = (".jpg", ".JPEG", ".Png", ".pNG", ".jpg.txt", "", ".tiff", "jpg")
STEMS = ("a", "é", "I", "ſ", "n01", "_b", "$c", "@", "s", "T", "l", "d", "thumbs", "a b", "\udcff")


def random_folder(root: Path, seed: int) -> None:
    """Images, litter, other files, links, folders in folders."""
    r = random.Random(seed)
    folders = [root / name for name in ("cat", "dog", "do g")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "first.jpg").touch()
    for _ in range(60):
        parent, name = r.choice(folders), r.choice(STEMS) + r.choice(("", "1", "2"))
        name = r.choice((name, name, name, "." + name, r.choice(SYSTEM).title()))
        path, what = parent / (name + r.choice(SUFFIXES)), r.random()
        if os.path.lexists(path):
            continue
        if what < 0.15:
            path.mkdir()
            folders.append(path)
        elif what < 0.25:
            path.symlink_to(
                r.choice([root / "cat" / "first.jpg", Path("nowhere"), Path(path.name)])
            )
        else:
            path.touch()


def listed(root: Path) -> tuple[list[str], set[str], set[str]]:
    """Images, and the files and folders that are passed over, by paths from the root."""
    images, files, folders = [], set(), set()
    for here, inside, names in os.walk(root):
        above = Path(here).relative_to(root)
        for name in list(inside):
            if name.startswith(".") or name.lower() in SYSTEM:
                folders.add((above / name).as_posix())
                inside.remove(name)
        for name in names:
            path = (above / name).as_posix()
            hidden = name.startswith(".") or name.lower() in SYSTEM
            named = name.lower().endswith((".jpg", ".jpeg", ".png"))
            if named and not hidden and (root / path).exists():
                images.append(path)
            else:
                files.add(path)
    return sorted(images), files, folders


@pytest.mark.parametrize("seed", range(12))
def test_random_folders(seed: int, tmp_path: Path) -> None:
    root = tmp_path / "images"
    random_folder(root, seed)
    source = ImageFolder(root)
    images, files, folders = listed(root)
    assert [source.names[i] for i in range(len(source))] == images
    assert set(source.passed.files) == files
    assert set(source.passed.folders) == folders
    assert [source.classes[label] for label in source.labels] == [p.split("/")[0] for p in images]
    assert source.places.shape == (len(images), 0)
    assert files


def test_the_quick_look_at_a_name_is_the_whole_one() -> None:
    letters = map(chr, (*range(0x250), 0x212A, 0x212B, 0x1E9E))
    for name in [x + rest for x in letters for rest in ("", *(s[1:] for s in SYSTEM))]:
        assert is_litter(name) == (name.startswith(".") or name.lower() in SYSTEM), name
    for name in ("a.jpg", "a.JPG", "a.jpEG", "a.Png", ".jpg", "jpg", "a.jpg ", "a.jpgx", ""):
        assert is_image(name) == name.lower().endswith((".jpg", ".jpeg", ".png"))
