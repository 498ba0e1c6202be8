"""Dataset: images and labels for training and test, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minidl.ir import Array
from minidl.ir.calls import called
from minidl.ir.printed import never_raises
from minidl.ir.readers import COUNT, SEED, whole


@dataclass(frozen=True, repr=False)
class Dataset:
    """Images (N, H, W, C) float32, labels (N,) int64, by split."""

    name: str
    classes: tuple[str, ...]
    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array

    @never_raises
    def __repr__(self) -> str:
        counts = f"{len(self.train_images):,} train, {len(self.test_images):,} test"
        image = images_in_words(self.train_images)
        return f"<{self.name}: {counts}, {image}, {len(self.classes):,} classes>"


def images_in_words(images: Array) -> str:
    """The shape of one image and its dtype: `32x32x1 float32`."""
    return f"{'x'.join(map(str, images.shape[1:]))} {images.dtype}"


def order_of(count: int, seed: int, epoch: int) -> Array:
    """A permutation of [0, count), int64, by seed and epoch alone."""
    key = np.array([seed, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(count)


@called(
    "write batches(images, labels, 32, seed=0, epoch=0)",
    {"batch": COUNT, "seed": SEED, "epoch": whole(0)},
    batch_size="batch",
)
def batches(
    images: Array, labels: Array, batch: int, *, seed: int, epoch: int
) -> Iterator[tuple[Array, Array]]:
    """One epoch in full batches, in an order that depends on seed and epoch alone.

    The last incomplete batch is left out; its images come at other places in other epochs.
    """
    order = order_of(len(images), seed, epoch)
    for start in range(0, len(order) - batch + 1, batch):
        chosen = order[start : start + batch]
        yield images[chosen], labels[chosen]
