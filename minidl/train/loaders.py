"""What a trainer reads: batches of an epoch, from any batch on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from minidl.data import batches
from minidl.data.dataset import images_in_words
from minidl.data.fingerprint import Fingerprint, fingerprint_of_arrays
from minidl.ir import ArgumentError, Array
from minidl.ir.arrays import require_all_unmasked
from minidl.ir.calls import called
from minidl.ir.printed import never_raises
from minidl.ir.readers import COUNT, SEED, Reader, UnfitError, optional, short

Batch = tuple[Array, ...]
"""The network's inputs, then the target."""


@runtime_checkable
class Feed(Protocol):
    """A source of batches that can begin in the middle of an epoch."""

    def __len__(self) -> int:
        """Batches of an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch number `epoch`, those before `start` left out: the same ones in
        the same order whenever it is asked."""


def fingerprint(feed: Feed) -> Fingerprint | None:
    """What a loader says of its images, by its `fingerprint`; None where it says nothing."""
    found: Fingerprint | None = getattr(feed, "fingerprint", None)
    return found


ARRAYS: dict[str, Reader] = {"batch": COUNT, "seed": SEED}


@called("write Shuffled(images, labels, 32, seed=0)", ARRAYS, batch_size="batch")
class Shuffled:
    """Full batches of arrays in an order of seed and epoch (`minidl.data.batches`)."""

    def __init__(self, images: Array, labels: Array, batch: int, *, seed: int = 0) -> None:
        self.images, self.labels, self.batch = images, labels, batch
        self.seed = seed
        _require_pairs(images, labels)

    @never_raises
    def __repr__(self) -> str:
        return _in_words(self, self.batch, self.images)

    def __len__(self) -> int:
        return len(self.images) // self.batch

    @property
    def fingerprint(self) -> Fingerprint:
        return fingerprint_of_arrays(np.asarray(self.images), np.asarray(self.labels))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        whole = batches(self.images, self.labels, self.batch, seed=self.seed, epoch=epoch)
        return islice(whole, start, None)


@called("write InOrder(images, labels, 32)", ARRAYS, batch_size="batch")
class InOrder:
    """Arrays as they lie, the last incomplete batch included: for validation."""

    def __init__(self, images: Array, labels: Array, batch: int) -> None:
        self.images, self.labels, self.batch = images, labels, batch
        _require_pairs(images, labels)

    @never_raises
    def __repr__(self) -> str:
        return _in_words(self, self.batch, self.images)

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch)

    @property
    def fingerprint(self) -> Fingerprint:
        return fingerprint_of_arrays(np.asarray(self.images), np.asarray(self.labels))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for i in range(start * self.batch, len(self.images), self.batch):
            yield self.images[i : i + self.batch], self.labels[i : i + self.batch]


def _loader(value: Any) -> Any:
    if isinstance(value, (type, str, bytes)):
        raise UnfitError
    if isinstance(value, Feed):
        return value
    if not isinstance(value, Iterable):
        raise UnfitError
    if iter(value) is value:
        raise UnfitError("an iterator ends after one epoch", "give a list or a loader")
    return value


LOADER = Reader(
    "a loader or an iterable of batches",
    _loader,
    "give a minidl.data.Loader, a list, or what minidl.train.Shuffled makes of arrays",
)


def _is_sized(source: Any) -> bool:
    try:
        return len(source) >= 0
    except TypeError:
        return False


@called(
    "write Repeated(batches, length=100)",
    {"source": LOADER, "length": optional(COUNT)},
    steps="length",
)
class Repeated:
    """Any iterable of batches that can be walked again: once an epoch, batches counted from its
    start. Where its order is random, a run that is resumed in an epoch sees other batches."""

    def __init__(self, source: Iterable[Any], *, length: int | None = None) -> None:
        if length is None and not _is_sized(source):
            raise ArgumentError(
                f"source: nobody knows how many batches there are of {short(source)}",
                "say it, Repeated(source, length=...)",
            )
        self.source, self.length = source, length

    @never_raises
    def __repr__(self) -> str:
        return f"<Repeated: {len(self):,} batches of {short(self.source)}>"

    def __len__(self) -> int:
        return len(cast(list[Any], self.source)) if self.length is None else self.length

    @property
    def fingerprint(self) -> Fingerprint | None:
        found: Fingerprint | None = getattr(self.source, "fingerprint", None)
        return found

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for number, given in enumerate(islice(self.source, start, len(self)), start=start + 1):
            arrays = _arrays(given, number)
            require_all_unmasked({f"array {i} of a batch": array for i, array in enumerate(arrays)})
            yield tuple(np.asarray(array) for array in arrays)


@called(readers={"source": LOADER})
def as_loader(source: Feed | Iterable[Any]) -> Feed:
    """A loader is itself; any other iterable is walked once an epoch."""
    return source if isinstance(source, Feed) else Repeated(source)


def _arrays(batch: Any, number: int) -> tuple[Any, ...]:
    """The arrays of a batch; ArgumentError where it is none."""
    if isinstance(batch, (str, bytes, Mapping)) or not isinstance(batch, Iterable):
        raise ArgumentError(
            f"batch {number} must be a tuple of arrays, got {short(batch)}",
            "give the network's inputs, then the target: (images, labels)",
        )
    return tuple(batch)


def _in_words(loader: Feed, batch: int, images: Array) -> str:
    """What a loader of arrays prints."""
    name = type(loader).__name__
    return f"<{name}: {len(loader):,} batches of {batch} images {images_in_words(images)}>"


def _require_pairs(images: Array, labels: Array) -> None:
    """ArgumentError unless there is a label for each image."""
    if len(images) != len(labels):
        raise ArgumentError(f"images and labels: {len(images)} and {len(labels)} do not fit")
