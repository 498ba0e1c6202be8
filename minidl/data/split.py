"""Images held out for the test, where there is no test split.

An image is held out by a hash of a seed and its name, so the same ones are whatever else is there:
by every version of Python and NumPy, and after images were added. Let u be the first 64 bits of
SHA-256(seed, name) / 2^64. An image is held out where u < 1/10. A class of two or more has at least
one image held out, that of the smallest u, and at least one to train on, that of the largest.

No rule of the images that are there can do both and never move one. What this one does, when an
image is added: where a class had images on both sides of 1/10, nothing moves. Where it had none
below, an image of a smaller u takes the place of the one held out, which is trained on from then
on. From training to the test an image moves only where all of its class were below, one in 10^n
classes of n images, or where it was its class's only one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from os import PathLike

import numpy as np

from minidl.data.dataset import order_of
from minidl.data.source import SOURCE, Source, Splits, Subset, key_of
from minidl.files.words import shown
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.numbers import SEEDS
from minidl.ir.readers import SEED

SHARE = 10
"""One image in ten is held out."""

HASH, PERMUTATION = "hash", "permutation"
"""Ways to choose: by a hash as above; by a permutation of the images' numbers, as 0.1.0 did."""


@called(readers={"seed": SEED})
@dataclass(frozen=True)
class HeldOut:
    """How images are held out: the seed, and the way they are chosen."""

    seed: int = 0
    _: KW_ONLY
    by: str = HASH

    def __post_init__(self) -> None:
        if self.by not in CHOOSE:
            raise ArgumentError(
                f"no way to hold images out: {shown(str(self.by))}",
                f"choose from {', '.join(CHOOSE)}",
            )

    def __str__(self) -> str:
        return f"{self.by} {self.seed}"

    @classmethod
    def of(cls, words: str, seed: int = 0) -> HeldOut:
        """What `str` made, or the way alone, of the seed given; ArgumentError where it is none."""
        by, _, digits = words.partition(" ")
        if digits and not (digits.isascii() and digits.isdigit() and int(digits[:21]) < SEEDS):
            raise ArgumentError(f"no way to hold images out: {shown(words)}")
        return cls(int(digits) if digits else seed, by=by)


@called(
    "write held_out(source, 0): one image in ten, drawn by a seed",
    {"source": SOURCE, "seed": SEED},
    lengths="",
    generator="seed",
)
def held_out(
    source: Source,
    seed: int = 0,
    name: str | PathLike[str] = "images",
    *,
    by: str = HASH,
) -> Splits:
    """One image in ten for the test, the others for training, both in the source's order.

    by: "hash" chooses in each class by `source.key(i)`, or `source.name(i)` where there is none;
    see `minidl.data.split`. Folders and archives have an image's path from the folder of the
    classes on, arrays its label and bytes, equal ones numbered; "permutation" is what 0.1.0 did.
    ArgumentError for fewer than two images or classes.
    """
    how = HeldOut(seed, by=by)
    if len(source) < 2:
        raise ArgumentError(f"{name}: one image cannot be split into training and test")
    out = CHOOSE[how.by](source, how.seed)
    train, test = (Subset(source, np.flatnonzero(chosen)) for chosen in (~out, out))
    return Splits(str(name), train, test, measured="held-out", held_out=how)


def _by_hash(source: Source, seed: int) -> Array:
    """Which images are held out: (N,) bool."""
    key, places, seen = key_of(source), np.empty(len(source), np.uint64), Counter[bytes]()
    for index in range(len(source)):
        own = key(index)
        places[index] = _place(seed, own, seen[own])
        seen[own] += 1
    out: Array = places < np.uint64(2**64 // SHARE)
    for images in _of_each_class(source.labels):
        _require_both(out, images, places)
    _require_both(out, np.arange(len(source)), places)
    return out


def _place(seed: int, key: bytes, before: int) -> int:
    """u * 2^64; before: how many images of the same key come first."""
    return int.from_bytes(hashlib.sha256(b"%d %d %b" % (seed, before, key)).digest()[:8], "big")


def _of_each_class(labels: Array) -> list[Array]:
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _require_both(out: Array, images: Array, places: Array) -> None:
    """Of two or more images, has one held out and one not."""
    if len(images) < 2:
        return
    if not out[images].any():
        out[images[places[images].argmin()]] = True
    elif out[images].all():
        out[images[places[images].argmax()]] = False


def _by_permutation(source: Source, seed: int) -> Array:
    out = np.zeros(len(source), bool)
    out[order_of(len(source), seed, 0)[: max(1, len(source) // SHARE)]] = True
    return out


CHOOSE: dict[str, Callable[[Source, int], Array]] = {
    HASH: _by_hash,
    PERMUTATION: _by_permutation,
}
