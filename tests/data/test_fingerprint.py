"""A fingerprint is the same wherever the images lie, and another one where anything differs."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minidl.data import Arrays, Loader, Subset, evaluation
from minidl.data.archive import ImageTar
from minidl.data.fingerprint import Fingerprint, fingerprint_of, fingerprint_of_arrays
from minidl.data.folder import ImageFolder
from tests.data.images import folder_of

Change = Callable[[Path], object]


def add(folder: Path) -> None:
    shutil.copy(next((folder / "c1").iterdir()), folder / "c1" / "new.jpg")


def remove(folder: Path) -> None:
    next((folder / "c2").iterdir()).unlink()


def rename_image(folder: Path) -> None:
    next((folder / "c0").iterdir()).rename(folder / "c0" / "zz.jpg")


def rename_class(folder: Path) -> None:
    (folder / "c0").rename(folder / "zebra")


def swap(folder: Path) -> None:
    (folder / "c0").rename(folder / "x")
    (folder / "c1").rename(folder / "c0")
    (folder / "x").rename(folder / "c1")


def move(folder: Path) -> None:
    next((folder / "c0").iterdir()).rename(folder / "c1" / "moved.jpg")


def drop_class(folder: Path) -> None:
    shutil.rmtree(folder / "c1")


CHANGES: dict[str, tuple[Change, str, str]] = {
    "added": (add, "", "there are 13, there were 12 (c1 5, not 4)"),
    "removed": (remove, "", "there are 11, there were 12 (c2 3, not 4)"),
    "renamed": (rename_image, "", "as many of each class, but other ones or in another order"),
    "moved": (move, "", "classes have other numbers of them (c0 3, not 4, c1 5, not 4)"),
    "a class renamed": (
        rename_class,
        "'c0' is gone and 'zebra' is new",
        "as many of each class, but other ones or in another order",
    ),
    "a class gone": (drop_class, "'c1' is gone", "there are 8, there were 12"),
}
"""What is done to a folder, and what is said of classes and images."""


def made(folder: Path) -> Path:
    return folder_of(folder / "photos", classes=3, each=4)


def of(folder: Path) -> Fingerprint:
    return fingerprint_of(ImageFolder(folder))


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_is_said(what: str, tmp_path: Path) -> None:
    change, classes, images = CHANGES[what]
    folder = made(tmp_path)
    before = of(folder)
    change(folder)
    now = of(folder)
    assert now.other_classes(before) == classes
    assert now.other_images(before) == images


def test_the_same_elsewhere_and_in_a_tar(tmp_path: Path) -> None:
    folder = made(tmp_path)
    before = of(folder)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    with tarfile.open(tmp_path / "p.tar", "w") as file:
        file.add(moved, ".")
    assert of(Path(moved)) == before
    assert fingerprint_of(ImageTar(tmp_path / "p.tar")) == before
    assert before.other_classes(before) == before.other_images(before) == ""
    assert before.images == sum(before.counts) == 12


def test_a_part_and_its_order(tmp_path: Path) -> None:
    source = ImageFolder(made(tmp_path))
    digests = {fingerprint_of(Subset(source, part)).digest for part in ([0, 1], [1, 0], [0, 2])}
    assert len(digests) == 3
    assert fingerprint_of(Subset(source, range(12))) == fingerprint_of(source)
    inner = Subset(Subset(source, [3, 4, 5]), [2, 0])
    assert fingerprint_of(inner) == fingerprint_of(Subset(source, [5, 3]))


def test_a_loader_has_that_of_its_source(tmp_path: Path) -> None:
    source = ImageFolder(made(tmp_path))
    with Loader(source, 4, transform=evaluation(8), seed=0) as loader:
        assert loader.fingerprint == fingerprint_of(source)


def test_bytes_in_memory_are_looked_at() -> None:
    images = np.zeros((2500, 4, 4, 1), np.uint8)
    labels = np.arange(2500) % 10
    before = fingerprint_of(Arrays(images, labels))
    assert fingerprint_of_arrays(images, labels).digest == before.digest
    other = images.copy()
    other[-1] = 1
    swapped = labels.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    found = {
        before.digest,
        fingerprint_of(Arrays(other, labels)).digest,
        fingerprint_of(Arrays(images, swapped)).digest,
        fingerprint_of(Arrays(images.reshape(2500, 2, 8, 1), labels)).digest,
        fingerprint_of(Arrays(images.astype(np.float32), labels)).digest,
    }
    assert len(found) == 5


def test_classes_in_another_order() -> None:
    one, two = (Fingerprint(names, 2, (1, 1), "") for names in (("a", "b"), ("b", "a")))
    assert one.other_classes(two) == "their order is another"
    many = Fingerprint(tuple("cdefgh"), 6, (1,) * 6, "")
    assert many.other_classes(one) == ("'a', 'b' are gone and 'c', 'd', 'e' and 3 more are new")
    unknown = Fingerprint((), 2, (1, 1), "")
    assert unknown.other_classes(one) == one.other_classes(unknown) == ""


def test_targets_that_are_no_labels() -> None:
    found = fingerprint_of_arrays(np.zeros((3, 2)), np.zeros((3, 2)))
    assert (found.images, found.counts) == (3, ())
