"""What some images are, in few bytes: so that a run goes on with those that it began with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minidl.data.source import Arrays, Source, Subset, key_of
from minidl.ir import Array

SAMPLE, SAMPLE_BYTES = 1000, 16 * 2**20
"""Arrays of pixels are looked at in that many places, and bytes, at most."""

TOLD = 3
"""Classes that one message names."""


@dataclass(frozen=True)
class Fingerprint:
    """The classes by name and order, how many images each has, and a digest of the images' names,
    order and labels; of arrays of bytes, also of some of their pixels. Pixels in files and floats
    are not looked at."""

    classes: tuple[str, ...]
    """Empty where nobody knows their names."""
    images: int
    counts: tuple[int, ...]
    """By label; empty where targets are not labels."""
    digest: str

    def other_classes(self, before: Fingerprint) -> str:
        """How the classes differ from what they were, in words; empty where they do not."""
        if not self.classes or not before.classes or self.classes == before.classes:
            return ""
        gone = [name for name in before.classes if name not in set(self.classes)]
        new = [name for name in self.classes if name not in set(before.classes)]
        found = [
            f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {what}"
            for names, what in ((gone, "gone"), (new, "new"))
            if names
        ]
        return " and ".join(found) or "their order is another"

    def other_images(self, before: Fingerprint) -> str:
        """How the images differ from what they were, in words; empty where they do not."""
        if self == before:
            return ""
        if self.images != before.images:
            return f"there are {self.images:,}, there were {before.images:,}{self._where(before)}"
        if self.counts != before.counts:
            return f"classes have other numbers of them{self._where(before)}"
        return "as many of each class, but other ones or in another order"

    def _where(self, before: Fingerprint) -> str:
        """The classes that have other numbers of images, where they are the same classes."""
        if len(self.counts) != len(before.counts):
            return ""
        names = self.classes or tuple(map(str, range(len(self.counts))))
        rows = zip(names, self.counts, before.counts, strict=True)
        odd = [f"{name} {now:,}, not {then:,}" for name, now, then in rows if now != then]
        more = f", and {len(odd) - TOLD} more" if len(odd) > TOLD else ""
        return f" ({', '.join(odd[:TOLD])}{more})" if odd else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return f"{', '.join(map(repr, names[:TOLD]))}{more}"


def fingerprint_of(source: Source) -> Fingerprint:
    """Of a source's images, in its order, which is that of `Loader`'s indices."""
    found = hashlib.sha256()
    for raw in _images(source, np.arange(len(source))):
        found.update(raw)
    labels = np.asarray(source.labels, "<i8")
    found.update(labels.tobytes())
    counts = np.bincount(labels, minlength=len(source.classes))
    return Fingerprint(
        tuple(source.classes), len(source), tuple(counts.tolist()), found.hexdigest()
    )


def fingerprint_of_arrays(images: Array, labels: Array) -> Fingerprint:
    """Of images and targets in memory, whose classes have no names."""
    found = hashlib.sha256()
    for raw in _pixels(images, np.arange(len(images))):
        found.update(raw)
    counts: tuple[int, ...] = ()
    if np.issubdtype(labels.dtype, np.integer) and labels.ndim == 1:
        found.update(np.asarray(labels, "<i8").tobytes())
        counts = tuple(np.unique(labels, return_counts=True)[1].tolist())
    return Fingerprint((), len(images), counts, found.hexdigest())


def _images(source: Source, indices: Array) -> Iterator[bytes]:
    """What tells some of a source's images from others."""
    if isinstance(source, Subset):
        yield from _images(source.source, source.indices[indices])
    elif isinstance(source, Arrays):
        yield from _pixels(source.images, indices)
    else:
        key = key_of(source)
        yield from (key(index) + b"\0" for index in indices.tolist())


def _pixels(images: Array, indices: Array) -> Iterator[bytes]:
    yield f"{images.shape[1:]} {images.dtype}".encode()
    if images.dtype != np.uint8 or not len(indices):
        return  # floats may be computed, with other last bits on another machine
    size = max(1, images[:1].nbytes)
    count = max(1, min(SAMPLE, SAMPLE_BYTES // size, len(indices)))
    for place in np.linspace(0, len(indices) - 1, count).astype(np.int64).tolist():
        yield images[indices[place]].tobytes()
