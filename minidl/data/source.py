"""Where images come from: a numbered list of images with labels, read one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called

MOST_CLASSES = 2**20
"""Labels beyond are taken for an error in the file."""


class Source(Protocol):
    """Images by index. Workers get a pickled copy, so files are opened in `read`, not before."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each label."""

    @property
    def labels(self) -> Array:
        """(N,) int64, each in [0, len(classes))."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What to call the image in a message."""

    def read(self, index: int) -> bytes | Array:
        """An encoded JPEG or PNG, or an array (H, W, C) of uint8 or float32."""


@called("write Arrays(images, labels)")
@dataclass(frozen=True, eq=False)
class Arrays:
    """Images (N, H, W, C) uint8 or float32 in memory; labels (N,) of any integers.

    With no `classes` there is one for each label up to the largest. ArgumentError where shapes,
    dtypes or labels do not fit.
    """

    images: Array
    labels: Array
    classes: tuple[str, ...] = ()
    title: str = "image"

    def __post_init__(self) -> None:
        images, labels = np.asarray(self.images), np.asarray(self.labels)
        if images.ndim != 4 or images.dtype not in (np.uint8, np.float32) or not images.size:
            raise ArgumentError(
                f"{self.title}: images must be (N, H, W, C) of uint8 or float32 and not empty, "
                f"got {images.shape} of {images.dtype}"
            )
        if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise ArgumentError(
                f"{self.title}: labels must be {images.shape[:1]} integers, one an image, got "
                f"{labels.shape} of {labels.dtype}"
            )
        classes = self.classes or numbered(self.title, labels)
        if labels.min() < 0 or labels.max() >= len(classes):
            raise ArgumentError(
                f"{self.title}: labels must be in [0, {len(classes)}), got {labels.min()} to "
                f"{labels.max()}"
            )
        for field, value in (("images", images), ("labels", labels.astype(np.int64))):
            object.__setattr__(self, field, value)
        object.__setattr__(self, "classes", classes)

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"{self.title} {index}"

    def read(self, index: int) -> Array:
        image: Array = self.images[index]
        return image


def numbered(where: str, *labels: Array) -> tuple[str, ...]:
    """Classes "0", "1", ... up to the largest label; ArgumentError where it is beyond reason."""
    count = max(int(part.max(initial=0)) for part in labels) + 1
    if count > MOST_CLASSES:
        raise ArgumentError(f"{where}: label {count - 1} is more than {MOST_CLASSES:,} classes")
    return tuple(map(str, range(count)))


@called("write Subset(source, [0, 2, 5])", dataset="source")
class Subset:
    """Some images of a source, in the order of `indices`."""

    def __init__(self, source: Source, indices: Sequence[int] | Array) -> None:
        self.source, self.indices = source, np.asarray(indices, np.int64)
        self.classes = source.classes
        self.labels: Array = source.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))

    def read(self, index: int) -> bytes | Array:
        return self.source.read(int(self.indices[index]))


@dataclass(frozen=True, eq=False)
class Splits:
    """A source to train on and one to test on, with the same classes."""

    name: str
    train: Source
    test: Source

    def __post_init__(self) -> None:
        if self.train.classes != self.test.classes:
            odd = sorted(set(self.train.classes) ^ set(self.test.classes))
            raise ArgumentError(
                f"{self.name}: training and test images must have the same classes; "
                f"in one of them only: {', '.join(odd[:5]) or 'none, but their order differs'}"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes
