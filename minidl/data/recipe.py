"""How batch b of epoch e is made: a pure function, so that it is the same in every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from minidl.data.dataset import order_of
from minidl.data.decode import PIXELS, opened, seen, seen_of_array
from minidl.data.errors import BrokenImageError
from minidl.data.source import Source
from minidl.data.transforms import Transform
from minidl.ir import ArgumentError, Array, ShapeError
from minidl.philox import LOW, philox4x32

Policy = Literal["refuse", "skip", "leave_out"]

PASS_OVER = "leave it out with broken='skip'"
"""Hint where an image that cannot be decoded ends an epoch."""

LEFT_OUT = -1
"""The label of a place in a batch that has no image."""

STREAM = 0x64617461
"""The counter's last word: "data", so that no layer draws the same words from the same seed."""

Skipped = tuple[str, str]
"""An image that was passed over: its name, and why."""


def words_of(seed: int, epoch: int, indices: Sequence[int] | Array, count: int) -> Array:
    """(len(indices), count) words, uniform in [0, 2^32), as uint64.

    Word j of image i is word j % 4 of the Philox block with counter (i, j // 4, epoch, STREAM)
    and key (low and high half of seed).
    """
    image = np.asarray(indices, np.uint64)[:, np.newaxis]
    block = np.arange(-(-count // 4), dtype=np.uint64)[np.newaxis]
    image, block = np.broadcast_arrays(image, block)
    when, where = np.full_like(block, epoch & LOW), np.full_like(block, STREAM)
    four = philox4x32((image, block, when, where), (seed & LOW, seed >> 32))
    return np.stack(four, axis=-1).reshape(len(image), -1)[:, :count]


@dataclass
class Recipe:
    """Everything that decides the images of a batch; picklable."""

    source: Source
    transform: Transform | None
    batch: int
    seed: int
    shuffle: bool
    broken: Policy
    pixels: int = PIXELS

    def __post_init__(self) -> None:
        self._order: tuple[int, Array] = (-1, np.empty(0, np.int64))

    def look(self) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        """Shape (H, W, C) and dtype of what comes out."""
        first = self.source.read(0)
        if isinstance(first, bytes):
            if self.transform is None:
                raise ArgumentError(
                    f"{self.source.name(0)}: an encoded image needs a transform, which says "
                    f"what size comes out"
                )
            return (*self.transform.size, 3), np.dtype(np.uint8)
        size = first.shape[:2] if self.transform is None else self.transform.size
        return (*size, first.shape[2]), first.dtype

    def indices(self, epoch: int, number: int) -> Array:
        """The images of batch `number`, by their index in the source."""
        if self._order[0] != epoch:
            count = len(self.source)
            order = order_of(count, self.seed, epoch) if self.shuffle else np.arange(count)
            self._order = epoch, order
        return self._order[1][number * self.batch : (number + 1) * self.batch]

    def fill(self, epoch: int, number: int, images: Array, labels: Array) -> list[Skipped]:
        """Write batch `number` to images (B, H, W, C) and labels (B,); what was passed over.

        With the policy "skip" the next readable image of the source takes a broken one's place,
        with "leave_out" its place has the label LEFT_OUT. BrokenImageError otherwise, or where
        nothing can be read.
        """
        indices = self.indices(epoch, number)
        all_words = self._words(epoch, indices)
        skipped: list[Skipped] = []
        for place, (index, words) in enumerate(zip(indices.tolist(), all_words, strict=True)):
            labels[place] = LEFT_OUT
            for _ in range(1 if self.broken == "leave_out" else len(self.source)):
                try:
                    images[place] = self._image(index, words, images.shape[1:])
                    labels[place] = self.source.labels[index]
                    break
                except BrokenImageError as error:
                    if self.broken == "refuse":
                        raise error.hinting(error.hint or PASS_OVER) from None
                    skipped.append((self.source.name(index), str(error)))
                index = (index + 1) % len(self.source)
                words = self._words(epoch, [index])[0]
            if labels[place] == LEFT_OUT and self.broken == "skip":
                raise BrokenImageError("no image of the source can be decoded")
        return skipped

    def _words(self, epoch: int, indices: Sequence[int] | Array) -> list[list[int]]:
        count = self.transform.words if self.transform is not None else 0
        if not count:
            return [[]] * len(indices)
        words: list[list[int]] = words_of(self.seed, epoch, indices, count).tolist()
        return words

    def _image(self, index: int, words: list[int], shape: tuple[int, ...]) -> Array:
        read, name = self.source.read(index), self.source.name(index)
        if self.transform is None:
            pixels = read
        elif isinstance(read, bytes):
            image = opened(read, name, self.pixels)
            pixels = seen(image, self.transform.view(image.height, image.width, words), name)
        else:
            view = self.transform.view(read.shape[0], read.shape[1], words)
            pixels = seen_of_array(read, view, name)
        if isinstance(pixels, bytes) or pixels.shape != shape:
            found = "an encoded image" if isinstance(pixels, bytes) else str(pixels.shape)
            raise ShapeError(f"{name}: {found} among images of {shape}")
        return pixels
