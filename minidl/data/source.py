"""Where images come from: a numbered list of images with labels, read one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from minidl.data.dataset import images_in_words
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.printed import never_raises
from minidl.ir.readers import Reader, UnfitError, having

MOST_CLASSES = 2**20
"""Labels beyond are taken for an error in the file."""


TOLD = 5
"""Names that one line tells of."""


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


SOURCE = having(
    "a source of images",
    "classes",
    "labels",
    "name",
    "read",
    hint="write minidl.data.Arrays(images, labels), or ImageFolder(path)",
)


def key_of(source: Source) -> Callable[[int], bytes]:
    """What tells an image of a source from others, wherever the source lies: its own `key`, or the
    name where it has none."""
    own: Callable[[int], bytes] | None = getattr(source, "key", None)
    return own or (lambda index: source.name(index).encode("utf-8", "surrogateescape"))


@called("write Arrays(images, labels)")
@dataclass(frozen=True, eq=False, repr=False)
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
        _require_nhwc(self.title, images)
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
        for name, value in (("images", images), ("labels", labels.astype(np.int64))):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "classes", classes)

    def __len__(self) -> int:
        return len(self.images)

    @never_raises
    def __repr__(self) -> str:
        return source_in_words(self, images_in_words(self.images))

    def name(self, index: int) -> str:
        return f"{self.title} {index}"

    def key(self, index: int) -> bytes:
        """What an image is held out by: its label, its bytes and what they are."""
        image = self.images[index]
        head = f"{self.labels[index]} {image.dtype.str} {image.shape} "
        return head.encode() + hashlib.sha256(np.ascontiguousarray(image).data).digest()

    def read(self, index: int) -> Array:
        image: Array = self.images[index]
        return image


def _require_nhwc(where: str, images: Array) -> None:
    """ArgumentError for images that have their channels first: 1 to 4 of them, and no such number
    at the end; a single row of floats is one, if it is not square otherwise."""
    _, first, height, width = images.shape
    square = height == width or first == 3 or images.dtype == np.uint8
    if first <= 4 and width > 4 and height > 4 and square:
        raise ArgumentError(
            f"{where}: images of {images.shape} have {width} channels, or those first",
            "images are NHWC: images.transpose(0, 2, 3, 1)",
        )


def few(names: Iterable[str], most: int = TOLD) -> str:
    """The first of some names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def numbered(where: str, *labels: Array) -> tuple[str, ...]:
    """Classes "0", "1", ... up to the largest label; ArgumentError where it is beyond reason."""
    count = max(int(part.max(initial=0)) for part in labels) + 1
    if count > MOST_CLASSES:
        raise ArgumentError(f"{where}: label {count - 1} is more than {MOST_CLASSES:,} classes")
    if any(part.size for part in labels) and all(part.min(initial=1) > 0 for part in labels):
        least = min(int(part.min()) for part in labels if part.size)
        raise ArgumentError(
            f"{where}: labels begin at {least}: no image is of class 0",
            "let them count from 0, labels - labels.min(), or name the classes",
        )
    return tuple(map(str, range(count)))


def _indices(value: Any) -> Array:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise UnfitError from None
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise UnfitError
    return array.astype(np.int64)


def source_in_words(source: Source, what: str) -> str:
    """What a source prints: images, classes, and where they are from or what they are."""
    classes = f"{len(source.classes):,} classes ({few(source.classes)})"
    return f"<{type(source).__name__}: {len(source):,} images in {classes}, {what}>"


INDICES = Reader("a list of whole numbers", _indices)


@called("write Subset(source, [0, 2, 5])", {"source": SOURCE, "indices": INDICES}, dataset="source")
class Subset:
    """Some images of a source, in the order of `indices`."""

    def __init__(self, source: Source, indices: Sequence[int] | Array) -> None:
        self.source, self.indices = source, np.asarray(indices)
        if len(self.indices) and not 0 <= self.indices.min() <= self.indices.max() < len(source):
            raise ArgumentError(
                f"Subset: indices must be in [0, {len(source)}), the source's, got "
                f"{self.indices.min()} to {self.indices.max()}"
            )
        self.classes = source.classes
        self.labels: Array = source.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    @never_raises
    def __repr__(self) -> str:
        return source_in_words(self, f"some of {type(self.source).__name__}")

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))

    def read(self, index: int) -> bytes | Array:
        return self.source.read(int(self.indices[index]))


def taken(source: Source) -> Source:
    """A source that holds its own images alone: what a subset, or a subset of one, is of may have a
    million others."""
    indices: Array | None = None
    within = source
    while isinstance(within, Subset):
        indices = within.indices if indices is None else within.indices[indices]
        within = within.source
    own = getattr(within, "taken", None)
    return source if own is None or indices is None else own(indices)


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """A source to train on and one to measure on, with the same two classes or more.

    ArgumentError where the classes differ, or there is one only.
    """

    name: str
    train: Source
    test: Source
    """What a run measures on after each epoch."""
    measured: str = "test"
    """Which split that is: test, val, or held-out."""
    further: Mapping[str, Source] = field(default_factory=dict)
    """Splits beside these, by name."""
    held_out: object = None
    """How images were held out (`minidl.data.HeldOut`), None where the splits are the data's."""
    notes: tuple[str, ...] = ()
    """What was passed over or assumed."""

    def __post_init__(self) -> None:
        for source in (self.test, *self.further.values()):
            _require_same_classes(self.name, self.train.classes, source.classes)
        if len(self.classes) < 2:
            raise ArgumentError(
                f"{self.name}: one class only, {', '.join(self.classes)}: nothing to tell apart",
                "name the folder in which each class has a folder: <folder>/<class>/<image>",
            )

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def by_name(self) -> dict[str, Source]:
        """Every split: train, then the one measured on, then others."""
        return {"train": self.train, self.measured: self.test, **self.further}

    @property
    def unseen(self) -> str:
        """The split that says most of what a network is worth: test where there is one, else the
        one measured on."""
        return "test" if "test" in self.by_name else self.measured

    def chosen(self, split: str) -> list[Source]:
        """The sources of a split, all of "all"; ArgumentError where there is no such split."""
        if split == "all":
            return list(self.by_name.values())
        if split not in self.by_name:
            raise ArgumentError(
                f"{self.name}: no split {split!r} in it",
                f"choose from {', '.join((*self.by_name, 'all'))}",
            )
        return [self.by_name[split]]

    def __str__(self) -> str:
        """One line: images, classes, splits, and what was passed over."""
        sizes = {name: len(source) for name, source in self.by_name.items()}
        each = ", ".join(f"{count:,} {name}" for name, count in sizes.items())
        how = (
            f" (about one in ten, by {_in_words(self.held_out)})"
            if self.held_out is not None
            else ""
        )
        classes = f"{len(self.classes):,} classes ({few(self.classes)})"
        start = f"{self.name}: {sum(sizes.values()):,} images in {classes}"
        return "; ".join([f"{start}: {each}{how}", *self._without(), *self.notes])

    @never_raises
    def __repr__(self) -> str:
        return f"<Splits {self}>"

    def _without(self) -> list[str]:
        """The classes that there is nothing to train on of, in words."""
        counts = np.bincount(self.train.labels, minlength=len(self.classes))
        none = [self.classes[i] for i in np.flatnonzero(counts == 0)]
        return [f"nothing to train on of {len(none):,} classes: {few(none)}"] if none else []


def _in_words(held_out: object) -> str:
    """`hash, seed 0` of what is written `hash 0`."""
    return ", seed ".join(str(held_out).split())


def _require_same_classes(name: str, one: tuple[str, ...], other: tuple[str, ...]) -> None:
    if one == other:
        return
    odd = sorted(set(one) ^ set(other))
    raise ArgumentError(
        f"{name}: training and test images must have the same classes; "
        f"in one of them only: {few(odd) if odd else 'none, but their order differs'}",
        "put images of each class into both",
    )
