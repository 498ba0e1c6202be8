"""From a path to images: what lies there is recognised by its files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minidl.data.cifar import cifar10, is_cifar
from minidl.data.dataset import Dataset, order_of
from minidl.data.digits import digits
from minidl.data.folder import LAYOUT, ImageFolder, is_image
from minidl.data.mnist import is_mnist, mnist
from minidl.data.npz import read_npz
from minidl.data.source import Arrays, Source, Splits, Subset
from minidl.data.tar import ImageTar
from minidl.files.tar import read_members
from minidl.ir import ArgumentError
from minidl.ir.calls import called

HELD_OUT = 10
"""Where there is no test split, one image in ten is kept for it."""

TRAIN, TESTS = "train", ("val", "test")
TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")

UNDERSTOOD = f"""understood are
  digits                   the bundled handwritten digits
  a folder, or a tar ({", ".join(TARS)})
    with train/ and val/ or test/, each {LAYOUT}
    or with {LAYOUT}
    or of CIFAR-10, the binary or the Python version
  a folder with the idx files of MNIST, .gz or not
  a .npz with x_train, y_train, x_test, y_test, or images, labels"""


@called(root="path")
def open_data(
    path: str | os.PathLike[str], *, seed: int = 0, image: tuple[int, int, int] = (64, 64, 3)
) -> Splits:
    """Images for training and test, recognised by what lies at `path`.

    Where there is one split only, one image in ten is held out for the test, by `seed` alone.
    `image` is the size of the digits. ArgumentError, with a list of what is understood, for
    anything else.
    """
    if str(path) == "digits" and not Path(path).exists():
        return of_dataset(digits(image))
    path = Path(path)
    if path.is_dir():
        return _folder(path, seed)
    if path.suffix == ".npz" and path.exists():
        arrays = read_npz(path)
        return Splits(str(path), *arrays) if len(arrays) == 2 else held_out(arrays[0], seed, path)
    if path.name.lower().endswith(TARS) and path.exists():
        return cifar10(path) if is_cifar(path) else _tar(path, seed)
    what = "not understood" if path.exists() else "no such file or folder"
    raise ArgumentError(f"{path}: {what}", UNDERSTOOD)


def of_dataset(data: Dataset) -> Splits:
    """Arrays in memory as sources."""
    train = Arrays(data.train_images, data.train_labels, data.classes, f"{data.name}: training")
    test = Arrays(data.test_images, data.test_labels, data.classes, f"{data.name}: test")
    return Splits(data.name, train, test)


@called(
    "write held_out(source, 0): one image in ten, drawn by a seed", lengths="", generator="seed"
)
def held_out(source: Source, seed: int = 0, name: str | os.PathLike[str] = "images") -> Splits:
    """One image in ten for the test, the others for training, both in the source's order."""
    if len(source) < 2:
        raise ArgumentError(f"{name}: one image cannot be split into training and test")
    order = order_of(len(source), seed, 0)
    cut = max(1, len(source) // HELD_OUT)
    test, train = np.sort(order[:cut]), np.sort(order[cut:])
    return Splits(str(name), Subset(source, train), Subset(source, test))


def _folder(path: Path, seed: int) -> Splits:
    if is_cifar(path):
        return cifar10(path)
    if is_mnist(path):
        return mnist(path)
    inside = [found.name for found in path.iterdir() if found.is_dir()]
    test = _test_split(inside)
    if test is not None:
        return Splits(str(path), ImageFolder(path / TRAIN), ImageFolder(path / test))
    try:
        return held_out(ImageFolder(path), seed, path)
    except ArgumentError as error:
        raise error.hinting(UNDERSTOOD) from None


def _tar(path: Path, seed: int) -> Splits:
    members = read_members(path, is_image)
    test = _test_split([member.parts[0] for member in members])
    if test is None:
        return held_out(ImageTar.of_members(path, "", members), seed, path)
    train_and_test = (ImageTar.of_members(path, split, members) for split in (TRAIN, test))
    return Splits(str(path), *train_and_test)


def _test_split(names: Sequence[str]) -> str | None:
    """The test split's folder, where training has one too."""
    return next((test for test in TESTS if test in names), None) if TRAIN in names else None
