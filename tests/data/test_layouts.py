"""Folders as people have them: what each is taken for, on the disk, in a tar and in a zip."""

from __future__ import annotations

import io
import stat
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.data import Arrays, ImageFolder, ImageTar, ImageZip, Splits, open_data
from minidl.data.layout import images_in
from minidl.data.tree import ArchiveTree
from minidl.files.contents import Contents
from minidl.ir import ArgumentError
from tests.data.images import encoded, pixels

IMAGE = encoded(pixels(8, 8))


def of(top: str, classes: str = "cat dog", each: int = 12) -> tuple[str, ...]:
    """Paths of images below a folder."""
    return tuple(f"{top}{name}/{i}.jpg" for name in classes.split() for i in range(each))


@dataclass(frozen=True)
class Meaning:
    """What some files are taken for: classes and sizes of splits, or an error's words."""

    files: tuple[str, ...]
    """Paths below the folder that is named; one that ends in / is an empty folder."""
    classes: str = "cat dog"
    splits: tuple[tuple[str, int], ...] = ()
    """By name, in order; empty where a tenth is held out of 24."""
    said: tuple[str, ...] = ()
    """What the line has."""
    refused: str = ""
    hint: str = ""


TRAIN_VAL, TRAIN_TEST = (("train", 24), ("val", 24)), (("train", 24), ("test", 24))
LITTER = ("cat/._0.jpg", "dog/.DS_Store", "Thumbs.db", "cat/notes.txt", "dog/a.webp")

TABLE = {
    "classes": Meaning(of("")),
    "extensions in any case": Meaning((*of("", each=11), "cat/x.JPEG", "dog/x.PnG")),
    "folders in a class": Meaning((*of("", each=11), "cat/a/b/0.jpg", "dog/a/0.jpg")),
    "one folder too high": Meaning(of("photos/"), said=("the classes are the folders of photos",)),
    "three folders too high": Meaning(of("a/b/c/"), said=("the classes are the folders of a/b/c",)),
    "too high, litter beside": Meaning(
        (*of("photos/"), "__MACOSX/photos/cat/._0.jpg", "read me.txt"),
        said=("1 file passed over: read me.txt", "1 folder passed over: __MACOSX"),
    ),
    "train and val": Meaning((*of("train/"), *of("val/")), splits=TRAIN_VAL),
    "train and test": Meaning((*of("train/"), *of("test/")), splits=TRAIN_TEST),
    "Train and Val": Meaning((*of("Train/"), *of("Val/")), splits=TRAIN_VAL),
    "TRAIN and TEST": Meaning((*of("TRAIN/"), *of("TEST/")), splits=TRAIN_TEST),
    "train and valid": Meaning((*of("train/"), *of("valid/")), splits=TRAIN_VAL),
    "training and validation": Meaning((*of("training/"), *of("validation/")), splits=TRAIN_VAL),
    "Training and Testing": Meaning((*of("Training/"), *of("Testing/")), splits=TRAIN_TEST),
    "train, val and test": Meaning(
        (*of("train/"), *of("val/"), *of("test/", each=2)), splits=(*TRAIN_VAL, ("test", 4))
    ),
    "splits one folder too high": Meaning((*of("set/train/"), *of("set/val/")), splits=TRAIN_VAL),
    "classes too high in a split": Meaning((*of("train/x/"), *of("val/x/")), splits=TRAIN_VAL),
    "splits, and more": Meaning(
        (*of("train/"), *of("val/"), "docs/a.txt", "labels.csv", "train/.x/0.jpg"),
        splits=TRAIN_VAL,
        said=("1 file passed over: labels.csv", "2 folders passed over: docs, train/.x"),
    ),
    "train alone": Meaning(of("train/"), said=("the classes are the folders of train",)),
    "a class called train": Meaning(of("", "bus car train", 8), "bus car train"),
    "hidden folders": Meaning(
        (*of(""), ".ipynb_checkpoints/0.jpg", "__MACOSX/1.jpg", "cat/.git/x/2.jpg"),
        said=("3 folders passed over: ", ".ipynb_checkpoints", "__MACOSX", "cat/.git"),
    ),
    "litter": Meaning((*of(""), *LITTER), said=("5 files passed over: ", *LITTER)),
    "many other files": Meaning(
        (*of(""), *(f"cat/{i}.gif" for i in range(7))),
        said=("7 files passed over: cat/0.gif, ", " and 2 more"),
    ),
    "images beside the classes": Meaning(
        (*of(""), "top.jpg"), said=("1 file passed over: top.jpg",)
    ),
    "an empty class": Meaning(
        (*of(""), "bird/"),
        refused="no image in 1 of 3 classes: bird; expected <class>/<anything>",
        hint="put images into each class's folder, or remove it",
    ),
    "a class of other files": Meaning((*of(""), "bird/0.webp"), refused="1 of 3 classes: bird"),
    "a class of litter": Meaning((*of(""), "bird/._0.jpg"), refused="1 of 3 classes: bird"),
    "one class": Meaning(
        of("", "cat"), refused="one class only, cat", hint="<folder>/<class>/<image>"
    ),
    "one class, too high": Meaning(of("a/b/", "cat"), refused="one class only, cat"),
    "one class in folders": Meaning((*of("", "cat"), "cat/x/0.jpg"), refused="one class only, cat"),
    "images and no class": Meaning(
        ("0.jpg", "1.jpg"),
        refused="images in no class's folder, 0.jpg, 1.jpg; expected <class>/<anything>",
    ),
    "no image": Meaning(("cat/0.txt", "dog/0.txt"), refused="no image found; expected <class>/"),
    "val and test alone": Meaning(
        (*of("val/"), *of("test/")), refused="has test and val, and no folder to train on"
    ),
    "two folders of one split": Meaning(
        (*of("train/"), *of("val/"), *of("Valid/")), refused="two folders for one split: "
    ),
    "other classes in val": Meaning(
        (*of("train/"), *of("val/", "cat cow")), refused="in one of them only: cow, dog"
    ),
    "an empty class in val": Meaning(
        (*of("train/"), *of("val/", "cat"), "val/dog/"), refused="no image in 1 of 2 classes: dog"
    ),
    "one class in splits": Meaning((*of("train/", "a"), *of("val/", "a")), refused="one class"),
}


def as_folder(path: Path, files: tuple[str, ...]) -> Path:
    for name in files:
        where = path / "data" / name
        (where if name.endswith("/") else where.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            where.write_bytes(IMAGE)
    return path / "data"


def as_tar(path: Path, files: tuple[str, ...]) -> Path:
    return _tar(path / "data.tar", files, "w")


def as_compressed_tar(path: Path, files: tuple[str, ...]) -> Path:
    return _tar(path / "data.tar.gz", files, "w:gz")


def _tar(path: Path, files: tuple[str, ...], mode: str) -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name in files:
            info = tarfile.TarInfo(f"./{name}")
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = 0 if name.endswith("/") else len(IMAGE)
            tar.addfile(info, io.BytesIO(IMAGE))
    return path


def as_zip(path: Path, files: tuple[str, ...]) -> Path:
    with zipfile.ZipFile(path / "data.ZIP", "w", zipfile.ZIP_DEFLATED) as made:
        for name in files:
            made.writestr(name, b"" if name.endswith("/") else IMAGE)
    return path / "data.ZIP"


FORMS = (as_folder, as_tar, as_compressed_tar, as_zip)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", TABLE)
def test_what_a_layout_is_taken_for(
    layout: str, form: Callable[[Path, tuple[str, ...]], Path], tmp_path: Path
) -> None:
    meaning = TABLE[layout]
    path = form(tmp_path, meaning.files)
    if meaning.refused:
        with pytest.raises(ArgumentError) as caught:
            open_data(path)
        assert meaning.refused in caught.value.message
        assert meaning.hint in caught.value.hint
        assert caught.value.hint
        return
    splits = open_data(path)
    assert splits.classes == tuple(meaning.classes.split())
    sizes = {name: len(source) for name, source in splits.by_name.items()}
    if meaning.splits:
        assert tuple(sizes.items()) == meaning.splits
        assert splits.held_out is None
    else:
        assert list(sizes) == ["train", "held-out"]
        assert sum(sizes.values()) == 24
        assert set(splits.test.labels) == set(range(len(splits.classes)))
    line = str(splits)
    assert line.startswith(f"{path}: {sum(sizes.values())} images in {len(splits.classes)} classes")
    assert "\n" not in line
    for words in meaning.said:
        assert words in line
    assert ("passed over" in line) == any("passed over" in words for words in meaning.said)
    for source in splits.by_name.values():
        for i, label in enumerate(source.labels):
            assert source.read(i) == IMAGE
            assert f"/{splits.classes[label]}/" in f"/{source.name(i).replace(': ', '/')}"


def test_the_same_images_are_held_out_however_they_lie(tmp_path: Path) -> None:
    """The folder, the folder above, and each archive of either."""
    found = set()
    for top in ("", "photos/"):
        for form in FORMS:
            where = tmp_path / f"{form.__name__}{len(top)}"
            where.mkdir()
            splits = open_data(form(where, of(top, each=50)))
            names = (splits.test.name(i).replace(": ", "/") for i in range(len(splits.test)))
            found.add(frozenset("/".join(name.split("/")[-2:]) for name in names))
    assert found == {
        frozenset(("cat/22.jpg", "cat/40.jpg", "cat/41.jpg", "dog/25.jpg", "dog/29.jpg"))
    }


def linked(path: Path) -> Path:
    """A folder of three classes: one of them a link, and in each a link that leads back."""
    folder = as_folder(path, of("", each=5))
    as_folder(path / "elsewhere", of("", "bird"))
    (folder / "bird").symlink_to(path / "elsewhere" / "data" / "bird")
    (folder / "cat" / "back").symlink_to(folder)
    (folder / "dog" / "self").symlink_to(folder / "dog")
    return folder


def test_links_are_followed_and_no_folder_is_entered_twice(tmp_path: Path) -> None:
    splits = open_data(linked(tmp_path))
    assert splits.classes == ("bird", "cat", "dog")
    assert np.bincount(np.concatenate([splits.train.labels, splits.test.labels])).tolist() == [
        12,
        5,
        5,
    ]
    assert "2 folders passed over: cat/back, dog/self" in str(splits)


def test_links_that_lead_nowhere_are_passed_over_and_said(tmp_path: Path) -> None:
    """A class, an image, one that leads to itself."""
    folder = as_folder(tmp_path, of("", each=5))
    (folder / "bird").symlink_to(tmp_path / "moved" / "bird")
    (folder / "cat" / "moved.jpg").symlink_to(tmp_path / "moved.jpg")
    (folder / "dog" / "self.jpg").symlink_to(folder / "dog" / "self.jpg")
    splits = open_data(folder)
    assert splits.classes == ("cat", "dog")
    assert len(splits.train) + len(splits.test) == 10
    assert "3 files passed over: bird, cat/moved.jpg, dog/self.jpg" in str(splits)


def test_splits_that_are_links(tmp_path: Path) -> None:
    folder = as_folder(tmp_path / "a", of("train/"))
    (folder / "val").symlink_to(as_folder(tmp_path / "b", of("", each=3)))
    splits = open_data(folder)
    assert (len(splits.train), splits.measured, len(splits.test)) == (24, "val", 6)


def test_links_in_an_archive_are_passed_over(tmp_path: Path) -> None:
    """Said by name, whatever they lead to."""
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(linked(tmp_path), arcname="photos")
    splits = open_data(tmp_path / "x.tar")
    assert splits.classes == ("cat", "dog")
    for name in ("photos/bird", "photos/cat/back", "photos/dog/self"):
        assert name in str(splits)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        for name in of(""):
            made.writestr(name, IMAGE)
        info = zipfile.ZipInfo("cat/passwd.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(info, "/etc/passwd")
    splits = open_data(tmp_path / "x.zip")
    assert "24 images" in str(splits)
    assert "1 file passed over: cat/passwd.jpg" in str(splits)


@pytest.mark.parametrize(("kind", "form"), [(ImageTar, as_tar), (ImageZip, as_zip)])
def test_an_archive_below_a_prefix(kind: Any, form: Any, tmp_path: Path) -> None:
    path = form(tmp_path, (*of("train/"), *of("val/", each=2)))
    assert len(kind(path, "train")) == 24
    assert len(kind(path, "val")) == 4
    with pytest.raises(ArgumentError, match="no folder test in it"):
        kind(path, "test")
    with pytest.raises(ArgumentError, match="has splits, not classes: train, val"):
        kind(path)


def test_a_folder_of_splits_is_no_folder_of_classes(tmp_path: Path) -> None:
    folder = as_folder(tmp_path, (*of("train/"), *of("val/", each=2)))
    with pytest.raises(ArgumentError, match="has splits, not classes: train, val"):
        ImageFolder(folder)
    assert len(ImageFolder(folder / "val")) == 4


def test_classes_that_have_nothing_to_train_on_are_named() -> None:
    images = np.zeros((8, 4, 4, 3), np.uint8)
    train = Arrays(images, np.arange(8) % 2 * 2, ("a", "b", "c"))
    line = str(Splits("x", train, train))
    assert line == (
        "x: 16 images in 3 classes (a, b, c): 8 train, 8 test; nothing to train on of 1 classes: b"
    )


def test_deep_folders_in_an_archive_take_time_and_memory_by_their_number() -> None:
    def path(i: int) -> tuple[str, ...]:
        return (*("ab"[i >> j & 1] for j in range(60)), f"{i}.jpg")

    contents = Contents({path(i): i for i in range(20_000)})
    tracemalloc.start()
    start = time.monotonic()
    found = images_in(ArchiveTree("x", contents))
    seconds, peak = time.monotonic() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(map(len, found.classes.values())) == 20_000
    assert seconds < 10
    assert peak < 100e6
