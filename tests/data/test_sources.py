"""Folders, tars, arrays and the published files: what they hold, and how they are recognised."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from minidl.data import (
    Arrays,
    ImageFolder,
    ImageTar,
    Source,
    Splits,
    Subset,
    cifar10,
    mnist,
    open_data,
)
from minidl.data.source import numbered
from minidl.ir import ArgumentError, Array
from tests.data.images import encoded, folder_of, pixels, real_data, tar_of

JPEG = encoded(pixels(8, 8))


def check(source: Source) -> None:
    """What any source promises."""
    assert len(source) == len(source.labels)
    assert source.labels.dtype == np.int64
    assert source.labels.min() >= 0
    assert source.labels.max() < len(source.classes)
    copy = pickle.loads(pickle.dumps(source))
    for index in (0, len(source) - 1):
        assert isinstance(source.name(index), str)
        assert np.array_equal(copy.read(index), source.read(index))


def test_folder_has_sorted_classes_and_any_case(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "c1" / "notes.txt").write_text("no image")
    (tmp_path / "top.jpg").write_bytes(JPEG)
    (tmp_path / "c0" / "inner").mkdir()
    (tmp_path / "c0" / "inner" / "x.JPEG").write_bytes(JPEG)
    source = ImageFolder(tmp_path)
    check(source)
    assert source.classes == ("c0", "c1", "c2")
    assert np.bincount(source.labels).tolist() == [5, 4, 4]
    assert source.name(0) == str(tmp_path / "c0" / "0.jpg")


@pytest.mark.parametrize("what", ["empty", "missing"])
def test_folder_without_images_is_refused(tmp_path: Path, what: str) -> None:
    folder = tmp_path / what
    if what == "empty":
        (folder / "class").mkdir(parents=True)
    with pytest.raises(ArgumentError, match=what):
        ImageFolder(folder)


@pytest.mark.parametrize("end", ["", ".gz", ".xz", ".bz2"])
def test_tar_is_read_where_it_is(tmp_path: Path, end: str) -> None:
    members = {f"./train/{c}/{i}.JPG": encoded(pixels(8, 8, i)) for c in "ba" for i in range(3)}
    members |= {"test/a/0.jpg": JPEG, "train/a/readme.txt": b"text"}
    path = tar_of(tmp_path / f"x.tar{end}", members, f"w:{end[1:]}")
    source = ImageTar(path, prefix="train")
    check(source)
    assert source.classes == ("a", "b")
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.read(4) == members["./train/b/1.JPG"]
    assert source.kept == (sum(len(source.read(i)) for i in range(6)) if end else 0)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ArgumentError, match="no folder val in it"):
        ImageTar(path, prefix="val")


def test_compressed_tar_is_bounded(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar.gz", {f"a/{i}.jpg": JPEG for i in range(4)}, "w:gz")
    with pytest.raises(ArgumentError, match="stay in memory"):
        ImageTar(path, limit=3 * len(JPEG))
    assert len(ImageTar(path, limit=4 * len(JPEG))) == 4


def test_arrays_and_subsets() -> None:
    images = np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3)
    source = Arrays(images, np.array([0, 2, 1, 2], np.uint8))
    check(source)
    assert source.classes == ("0", "1", "2")
    some = Subset(source, [3, 0])
    check(some)
    assert some.labels.tolist() == [2, 0]
    assert np.array_equal(some.read(0), images[3])
    assert some.name(0) == "image 3"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, int), "N, H, W, C"),
        (np.zeros((2, 3, 3, 1), np.float64), np.zeros(2, int), "float32"),
        (np.zeros((0, 3, 3, 1), np.uint8), np.zeros(0, int), "not empty"),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(3, int), "one an image"),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(2), "integers"),
        (np.zeros((2, 3, 3, 1), np.uint8), np.array([0, -1]), "-1 to 0"),
        (np.zeros((2, 3, 3, 1), np.uint8), np.array([0, 2**40]), "classes"),
        (np.zeros((2, 3, 3, 1), np.uint8), np.array([1, 4]), "begin at 1: no image is of class 0"),
        (np.zeros((2, 3, 32, 32), np.uint8), np.zeros(2, int), r"transpose\(0, 2, 3, 1\)"),
        (np.zeros((2, 1, 28, 20), np.uint8), np.zeros(2, int), "20 channels, or those first"),
        (np.zeros((2, 1, 28, 28), np.float32), np.zeros(2, int), "28 channels, or those first"),
        (np.zeros((2, 3, 22, 32), np.float32), np.zeros(2, int), "32 channels, or those first"),
        (np.ma.masked_all((2, 3, 3, 1), np.uint8), np.zeros(2, int), "images: 18 masked"),
        (np.zeros((2, 3, 3, 1), np.uint8), np.ma.masked_all(2, int), "labels: 2 masked"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images: Array, labels: Array, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Arrays(images, labels)


@pytest.mark.parametrize("shape", [(2, 3, 3, 3), (2, 3, 32, 3), (2, 1, 1, 9), (2, 1, 100, 16)])
def test_arrays_that_may_be_nhwc_are_taken(shape: tuple[int, ...]) -> None:
    assert Arrays(np.zeros(shape, np.float32), np.array([0, 1])).read(0).shape == shape[1:]


def test_labels_from_1_on_are_classes_that_are_named() -> None:
    images = np.zeros((2, 3, 3, 1), np.uint8)
    assert Arrays(images, np.array([1, 2]), ("none", "a", "b")).labels.tolist() == [1, 2]


def test_an_npz_of_labels_from_1_on_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((8, 4, 4), np.uint8), labels=np.arange(8) % 4 + 1)
    with pytest.raises(ArgumentError, match=r"x\.npz: labels begin at 1: no image is of class 0"):
        open_data(tmp_path / "x.npz")


def cifar_images(count: int, seed: int) -> tuple[Array, Array]:
    chance = np.random.default_rng(seed)
    return chance.integers(0, 256, (count, 3072)).astype(np.uint8), chance.integers(0, 10, count)


def cifar_files(kind: str, protocol: int = 2) -> dict[str, bytes]:
    files = {}
    for seed, name in enumerate(["data_batch_1", "data_batch_2", "test_batch"]):
        data, labels = cifar_images(5 + seed, seed)
        if kind == "bin":
            records = np.concatenate([labels[:, np.newaxis].astype(np.uint8), data], axis=1)
            files[f"{name}.bin"] = records.tobytes()
        else:
            content = {b"data": data, b"labels": labels.tolist(), b"batch_label": b"1 of 2"}
            files[name] = pickle.dumps(content, protocol=protocol)
    return files


@pytest.mark.parametrize("kind", ["bin", "py"])
@pytest.mark.parametrize("where", ["folder", "above", "tar"])
def test_cifar10(tmp_path: Path, kind: str, where: str) -> None:
    files, inner = cifar_files(kind), f"cifar-10-batches-{kind}"
    path = tmp_path / "data"
    if where == "tar":
        members = {f"{inner}/{name}": raw for name, raw in files.items()}
        path = tar_of(tmp_path / "cifar.tar.gz", members, "w:gz")
    else:
        folder = path / inner if where == "above" else path
        folder.mkdir(parents=True)
        for name, raw in files.items():
            (folder / name).write_bytes(raw)
    for splits in (cifar10(path), open_data(path)):
        check(splits.train)
        assert (len(splits.train), len(splits.test)) == (11, 7)
        data, labels = cifar_images(5, 0)
        assert np.array_equal(splits.train.read(3), data[3].reshape(3, 32, 32).transpose(1, 2, 0))
        assert splits.train.labels[:5].tolist() == labels.tolist()
        assert splits.classes[0] == "airplane"


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_cifar10_of_other_protocols(tmp_path: Path, protocol: int) -> None:
    for name, raw in cifar_files("py", protocol).items():
        (tmp_path / name).write_bytes(raw)
    assert len(cifar10(tmp_path).test) == 7


def idx(array: Array) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist_folder(path: Path, zipped: bool) -> Path:
    chance = np.random.default_rng(0)
    for stem, count in (("train", 6), ("t10k", 3)):
        images = chance.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = np.arange(count, dtype=np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            file = path / f"{stem}-{name}-ubyte{'.gz' if zipped else ''}"
            file.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist(tmp_path: Path, zipped: bool) -> None:
    mnist_folder(tmp_path, zipped)
    for splits in (mnist(tmp_path), open_data(tmp_path)):
        check(splits.train)
        assert len(splits.test) == 3
        assert splits.train.labels.tolist() == [0, 1, 2, 3, 4, 5]
        image = splits.train.read(0)
        assert isinstance(image, np.ndarray)
        assert image.shape == (28, 28, 1)


def test_npz_with_two_splits_and_with_one(tmp_path: Path) -> None:
    images, labels = np.zeros((20, 4, 4), np.uint8), np.arange(20)[:, np.newaxis] % 7
    two, one = tmp_path / "two.npz", tmp_path / "one.npz"
    np.savez(two, x_train=images, y_train=labels, x_test=images[:5], y_test=labels[:5])
    np.savez_compressed(one, images=images.astype(float), labels=labels[:, 0])
    splits = open_data(two)
    check(splits.train)
    assert (len(splits.train), len(splits.test), len(splits.classes)) == (20, 5, 7)
    splits = open_data(one)
    assert (len(splits.train), len(splits.test)) == (13, 7)
    image = splits.train.read(0)
    assert isinstance(image, np.ndarray)
    assert image.dtype == np.float32


def test_open_data_knows_splits_by_their_folders(tmp_path: Path) -> None:
    folder_of(tmp_path / "train")
    folder_of(tmp_path / "val", each=2)
    splits = open_data(tmp_path)
    assert (len(splits.train), len(splits.test)) == (12, 6)
    members = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*.*")}
    splits = open_data(tar_of(tmp_path / "x.tar", members))
    assert (len(splits.train), len(splits.test)) == (12, 6)


def test_open_data_has_the_digits() -> None:
    splits = open_data("digits", image=(8, 8, 1))
    assert (len(splits.train), len(splits.test)) == (1438, 359)


@pytest.mark.parametrize("name", ["missing", "file.txt", "empty"])
def test_open_data_says_what_it_understands(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match="understood are"):
        open_data(tmp_path / name)


def test_splits_must_have_the_same_classes(tmp_path: Path) -> None:
    folder_of(tmp_path / "train", classes=3)
    folder_of(tmp_path / "test", classes=2)
    with pytest.raises(ArgumentError, match="c2"):
        open_data(tmp_path)


def test_real_imagenet_sample() -> None:
    splits = open_data(real_data("imagenet-sample"))
    assert (len(splits.train), len(splits.test), len(splits.classes)) == (120, 11, 131)


def test_real_cifar10_tar() -> None:
    splits: Splits = open_data(real_data("cifar10/cifar10-jpeg.tar.xz"))
    assert (len(splits.train), len(splits.test)) == (50_000, 10_000)
    assert np.bincount(splits.train.labels).tolist() == [5000] * 10
    assert splits.train.name(0).endswith("train/airplane/0000.jpg")


def test_labels_of_a_million_classes_are_read_and_one_beyond_is_refused() -> None:
    assert numbered("x", np.array([3, 0])) == ("0", "1", "2", "3")
    assert len(numbered("x", np.array([0]), np.array([2**20 - 1]))) == 2**20
    with pytest.raises(ArgumentError, match="x: label 1048576 is more than 1,048,576 classes"):
        numbered("x", np.array([2**20]))
