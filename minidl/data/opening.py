"""From a path to images: what lies there is recognised by its files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from minidl.data.archive import ImageArchive, ImageTar, ImageZip, tar_contents, zip_contents
from minidl.data.cifar import cifar10, is_cifar
from minidl.data.dataset import Dataset
from minidl.data.digits import IMAGE, digits
from minidl.data.folder import ImageFolder
from minidl.data.layout import LAYOUT, splits_in, told
from minidl.data.mnist import is_mnist, mnist
from minidl.data.npz import read_npz
from minidl.data.source import Arrays, Splits
from minidl.data.split import HeldOut, held_out
from minidl.data.tree import ArchiveTree, FolderTree, Passed, Tree
from minidl.files.contents import Contents, Parts
from minidl.ir import ArgumentError
from minidl.ir.calls import called
from minidl.ir.readers import SEED

MEASURED = ("val", "test")
"""The split that a run measures on: the first that is there."""

TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")

ARCHIVES = (*TARS, ".zip")
"""How the name of a file ends that has others in it."""

UNDERSTOOD = f"""understood are
  digits                   the bundled handwritten digits
  a folder, a .zip or a tar ({", ".join(TARS)})
    with train/ and val/ or test/, or both, each {LAYOUT}
    or with {LAYOUT}
  a folder or a tar of CIFAR-10, the binary or the Python version
  a folder with the idx files of MNIST, .gz or not, or with MNIST/raw
  a .npz with x_train, y_train, x_test, y_test, or images, labels"""


@called("", {"seed": SEED, "image": IMAGE}, root="path")
def open_data(
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    image: tuple[int, int, int] = (64, 64, 3),
    held: HeldOut | None = None,
) -> Splits:
    """Images for training and test, recognised by what lies at `path`; printed, one line of what
    was found and what was passed over.

    Where there is one split only, one image in ten is held out for the test, by a hash of `seed`
    and its name; held: another way, which wins over `seed`. `image` is the size of the digits.
    ArgumentError, with a list of what is understood, for anything else.
    """
    held = held or HeldOut(seed)
    if str(path) == "digits" and not Path(path).exists():
        return of_dataset(digits(image))
    path = Path(path)
    if path.is_dir():
        return _folder(path, held)
    name = path.name.lower()
    if name.endswith(".npz") and path.exists():
        arrays = read_npz(path)
        if len(arrays) == 2:
            return Splits(str(path), *arrays)
        return held_out(arrays[0], held.seed, path, by=held.by)
    if name.endswith(TARS) and path.exists():
        if is_cifar(path):
            return cifar10(path)
        return _archive(path, ImageTar, tar_contents(path), held)
    if name.endswith(".zip") and path.exists():
        return _archive(path, ImageZip, zip_contents(path), held)
    what = "not understood" if path.exists() else "no such file or folder"
    raise ArgumentError(f"{path}: {what}", UNDERSTOOD)


def of_dataset(data: Dataset) -> Splits:
    """Arrays in memory as sources."""
    train = Arrays(data.train_images, data.train_labels, data.classes, f"{data.name}: training")
    test = Arrays(data.test_images, data.test_labels, data.classes, f"{data.name}: test")
    return Splits(data.name, train, test)


def _folder(path: Path, held: HeldOut) -> Splits:
    if is_cifar(path):
        return cifar10(path)
    if is_mnist(path):
        return mnist(path)
    tree = FolderTree(path)
    return _open(path, tree, lambda top: ImageFolder.of_split(tree, top), held)


def _archive(
    path: Path, kind: type[ImageArchive[Any]], contents: Contents[Any], held: HeldOut
) -> Splits:
    tree = ArchiveTree(str(path), contents)
    return _open(path, tree, lambda top: kind.of_split(path, tree, top), held)


def _open(path: Path, tree: Tree[Any], source: Callable[[Parts], Any], held: HeldOut) -> Splits:
    """The splits that there are, or those that are made of the one."""
    found, passed = splits_in(tree)
    if found:
        return _split(path, {split: source(top) for split, top in found.items()}, passed)
    try:
        return _held_out(path, source(()), held)
    except ArgumentError as error:
        raise error if error.hint else error.hinting(UNDERSTOOD) from None


def _split(path: Path, sources: dict[str, Any], passed: Passed) -> Splits:
    """Splits that the data has: where there are both, val is measured on while training."""
    for source in sources.values():
        passed.update(source.passed)
    measured = next(name for name in MEASURED if name in sources)
    further = {k: v for k, v in sources.items() if k not in ("train", measured)}
    return Splits(
        str(path), sources["train"], sources[measured], measured, further, None, told(passed)
    )


def _held_out(path: Path, source: Any, held: HeldOut) -> Splits:
    splits = held_out(source, held.seed, path, by=held.by)
    where = [f"the classes are the folders of {'/'.join(source.top)}"] if source.top else []
    return replace(splits, notes=(*where, *told(source.passed)))
