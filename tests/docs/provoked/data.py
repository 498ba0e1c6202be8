"""Images, their files, and the processes that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minidl.data import (
    Arrays,
    ImageFolder,
    ImageTar,
    Loader,
    Source,
    decoded,
    evaluation,
    open_data,
)
from minidl.ir import Array
from tests.data.images import Deadly, Faulty, Stuck
from tests.docs.provoked.cases import jpeg, labels, put, raises, tar


@raises("### No such data")
def no_data(_: pytest.MonkeyPatch) -> object:
    return open_data("imags")


@raises("### No image found")
def no_image(_: pytest.MonkeyPatch) -> object:
    put("images/cat.jpg", jpeg())
    return ImageFolder("images")


@raises("### No image found")
def nothing_there(_: pytest.MonkeyPatch) -> object:
    put("images/cat/notes.txt", b"")
    return ImageFolder("images")


@raises("### A class has no image")
def empty_class(_: pytest.MonkeyPatch) -> object:
    put("images/cat/0.jpg", jpeg())
    put("images/dog/0.webp", b"")
    return open_data("images")


@raises("### One class only")
def one_class(_: pytest.MonkeyPatch) -> object:
    put("images/cat/0.jpg", jpeg())
    put("images/cat/1.jpg", jpeg())
    return open_data("images")


@raises("### There is no such split")
def no_split(_: pytest.MonkeyPatch) -> object:
    for split in ("train", "val"):
        put(f"images/{split}/cat/0.jpg", jpeg())
        put(f"images/{split}/dog/0.jpg", jpeg())
    return open_data("images").chosen("test")


@raises("### Training and test have other classes")
def other_classes(_: pytest.MonkeyPatch) -> object:
    put("images/train/cat/0.jpg", jpeg())
    put("images/train/dog/0.jpg", jpeg())
    put("images/val/cat/0.jpg", jpeg())
    return open_data("images")


@raises("### An image is broken")
def broken(_: pytest.MonkeyPatch) -> object:
    put("images/cat/0.jpg", jpeg()[:100])
    return list(Loader(ImageFolder("images"), 1, transform=evaluation(8), seed=0).epoch(0))


@raises("### An image is broken")
def broken_image(_: pytest.MonkeyPatch) -> object:
    put("images/cat/0.jpg", b"<html>404 not found</html>")
    return list(Loader(ImageFolder("images"), 1, transform=evaluation(8), seed=0).epoch(0))


@raises("### An image is too large")
def too_large(_: pytest.MonkeyPatch) -> object:
    put("images/cat/0.jpg", jpeg(400, 300))
    loader = Loader(ImageFolder("images"), 1, transform=evaluation(8), seed=0, pixels=100_000)
    return list(loader.epoch(0))


@raises("### An encoded image without a transform")
def no_transform(_: pytest.MonkeyPatch) -> object:
    put("images/cat/0.jpg", jpeg())
    return Loader(ImageFolder("images"), 1, seed=0)


@raises("### Images of several sizes")
def sizes(_: pytest.MonkeyPatch) -> object:
    put("images/cat/0.jpg", jpeg())
    put("images/cat/1.jpg", jpeg(9, 8))
    return decoded(ImageFolder("images"))


@raises("### Too many images to decode in memory")
def too_many(_: pytest.MonkeyPatch) -> object:
    put("images/cat/0.jpg", jpeg(640, 480))
    return decoded(Repeated(ImageFolder("images"), 10_000))


class Repeated:
    """An image many times."""

    def __init__(self, source: Source, count: int) -> None:
        self.source, self.count = source, count
        self.classes, self.labels = source.classes, np.zeros(count, np.int64)

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return self.source.name(0)

    def read(self, index: int) -> bytes | Array:
        return self.source.read(0)


@raises("### More images in a batch than there are")
def batch(_: pytest.MonkeyPatch) -> object:
    return Loader(small(8), 16, seed=0)


@raises("### Arrays that are no images")
def no_images(_: pytest.MonkeyPatch) -> object:
    return Arrays(np.zeros((8, 28, 28), np.uint8), labels(8))


@raises("### A tar is cut short")
def cut_short(_: pytest.MonkeyPatch) -> object:
    tar("images.tar", cat=jpeg(200, 200))
    put("images.tar", Path("images.tar").read_bytes()[:600])
    return ImageTar("images.tar")


@raises("### A tar is cut short")
def no_tar(_: pytest.MonkeyPatch) -> object:
    put("images.tar", b"<html>404 not found</html>")
    return ImageTar("images.tar")


def small(count: int = 40) -> Arrays:
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    return Arrays(images, np.arange(count) % 5)


def epoch(source: type[Arrays], silence: float = 60) -> object:
    full = small()
    with Loader(source(full.images, full.labels), 4, seed=0, workers=1, silence=silence) as loader:
        return list(loader.epoch(0))


@raises("### A worker died")
def died(_: pytest.MonkeyPatch) -> object:
    return epoch(Deadly)


@raises("### A worker failed")
def failed(_: pytest.MonkeyPatch) -> object:
    return epoch(Faulty)


@raises("### A worker is silent")
def silent(_: pytest.MonkeyPatch) -> object:
    return epoch(Stuck, silence=2)


@raises("### The source cannot be sent to workers")
def not_sent(_: pytest.MonkeyPatch) -> object:
    class Here(Arrays):
        """Of a function, so that no other process finds it."""

    return epoch(Here)
