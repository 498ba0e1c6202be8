"""Loader: batches of decoded images, made ahead by worker processes."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from minidl.data.decode import PIXELS
from minidl.data.fingerprint import Fingerprint, fingerprint_of
from minidl.data.pool import Made, Pool
from minidl.data.recipe import LEFT_OUT, Policy, Recipe
from minidl.data.ring import Shape
from minidl.data.source import SOURCE, Source
from minidl.data.transforms import Transform
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.printed import never_raises
from minidl.ir.readers import COUNT, SEED, choice, having, optional, real, whole

Batch = tuple[Array, Array]
"""Images (B, H, W, C) and labels (B,) int64."""

SILENCE = 300.0
"""Seconds after which workers that give nothing are taken for stuck."""


TRANSFORM = having("a transform", "size", "words", "view", hint="write transform=training(224)")


@called(
    "write Loader(source, 32, transform=training(224), seed=0)",
    {
        "source": SOURCE,
        "batch": COUNT,
        "transform": optional(TRANSFORM),
        "seed": SEED,
        "workers": whole(0),
        "ring": whole(0),
        "broken": choice(get_args(Policy)),
        "pixels": COUNT,
        "silence": real(0, above=True),
    },
    batch_size="batch",
    num_workers="workers",
    dataset="source",
    pin_memory="",
)
class Loader:
    """Batches of a source's images: uint8 (B, H, W, C), or the dtype of a source of arrays.

    A batch depends on `seed`, its epoch and its number alone: not on the workers, not on what was
    read before, so a run goes on from two integers. Its arrays are views, valid until the next
    batch is asked for; with `copy` they are the caller's.

    transform  what is cut out of each image; None leaves arrays as they are
    workers    processes; 0 decodes in this one
    shuffle    a new order each epoch, that of `batches`; else the source's
    drop_last  leave an incomplete last batch out
    ring       batches in memory at once, `ring_bytes` in all; 0 means workers + 2
    broken     "refuse" raises BrokenImageError; "skip" takes the next readable image of the
               source instead, for training; "leave_out" makes the batch smaller, for measuring;
               both warn once for each, and list them in `skipped`
    pixels     the most that an image may have, read from its header
    silence    seconds until workers that give nothing are taken for stuck

    Workers start with the first epoch and end with `close`, the `with` statement, the loader or the
    interpreter; WorkerError where one dies, and the next epoch starts new ones. ArgumentError for
    what is out of range. One epoch at a time.

    The source's class must stand in a module that can be imported, since workers get it pickled.
    """

    def __init__(
        self,
        source: Source,
        batch: int,
        *,
        transform: Transform | None = None,
        seed: int,
        workers: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        ring: int = 0,
        broken: Policy = "refuse",
        copy: bool = False,
        pixels: int = PIXELS,
        silence: float = SILENCE,
    ) -> None:
        _check(source, batch, workers, ring, drop_last)
        self.recipe = Recipe(source, transform, batch, seed, shuffle, broken, pixels)
        self.workers, self.drop_last, self.copy, self.silence = workers, drop_last, copy, silence
        image, dtype = self.recipe.look()
        self.shape = Shape((ring or workers + 2) if workers else 1, batch, image, dtype.str)
        self.skipped: dict[str, str] = {}
        self._pool: Pool | None = None
        self._close: weakref.finalize[[], Loader] | None = None

    @never_raises
    def __repr__(self) -> str:
        shape, source = self.shape, self.recipe.source
        images = f"{shape.batch} images {'x'.join(map(str, shape.image))} {np.dtype(shape.dtype)}"
        return f"<Loader: {len(self):,} batches of {images}, {self.workers} workers, of {source!r}>"

    def __len__(self) -> int:
        """Batches of one epoch."""
        count = len(self.recipe.source)
        return count // self.recipe.batch if self.drop_last else -(-count // self.recipe.batch)

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the source's images."""
        return fingerprint_of(self.recipe.source)

    @property
    def ring_bytes(self) -> int:
        """Bytes of all batches in memory."""
        return self.shape.total_bytes

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches start, start + 1, ... of an epoch; both are from 0 on."""
        if not 0 <= epoch < 2**32 or not 0 <= start <= len(self):
            raise ArgumentError(
                f"epoch must be in [0, 2^32) and start in [0, {len(self)}], got {epoch}, {start}"
            )
        return self._epoch(epoch, range(start, len(self)))

    def _epoch(self, epoch: int, numbers: range) -> Iterator[Batch]:
        made = self._run(epoch, numbers) if self.workers else self._here(epoch, numbers)
        for number, (images, labels, skipped) in zip(numbers, made, strict=True):
            for name, why in skipped:
                self._report(name, why)
            count = min(self.recipe.batch, len(self.recipe.source) - number * self.recipe.batch)
            images, labels = images[:count], labels[:count]
            if LEFT_OUT in labels:
                there = labels != LEFT_OUT
                images, labels = images[there], labels[there]
                if not len(labels):
                    continue
            yield (images.copy(), labels.copy()) if self.copy else (images, labels)

    def _here(self, epoch: int, numbers: range) -> Iterator[Made]:
        """Made by this process, in one slot."""
        images = np.empty((self.shape.batch, *self.shape.image), self.shape.dtype)
        labels = np.empty(self.shape.batch, np.int64)
        for number in numbers:
            yield images, labels, self.recipe.fill(epoch, number, images, labels)

    def _run(self, epoch: int, numbers: range) -> Iterator[Made]:
        """Made by workers; a failure ends them all."""
        if self._pool is None or not self._pool.is_ours:
            self._pool = Pool(self.recipe, self.shape, self.workers, self.silence)
            self._close = weakref.finalize(self, self._pool.close)
        try:
            yield from self._pool.run(epoch, numbers)
        except ArgumentError:
            raise
        except (Exception, KeyboardInterrupt):
            # An answer may be half read: the next epoch has to start with new workers.
            self.close()
            raise

    def _report(self, name: str, why: str) -> None:
        if name not in self.skipped:
            self.skipped[name] = why
            warnings.warn(f"skipped: {why}", stacklevel=4)

    def __getstate__(self) -> dict[str, Any]:
        """Copies have workers of their own, once they need some."""
        own = {"skipped": dict(self.skipped), "_pool": None, "_close": None}
        return {**vars(self), **own}

    def close(self) -> None:
        """End the workers, if there are any."""
        if self._close is not None:
            self._close()
        self._pool = self._close = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check(source: Source, batch: int, workers: int, ring: int, drop_last: bool) -> None:
    if not len(source):
        raise ArgumentError("the source has no images")
    if drop_last and batch > len(source):
        raise ArgumentError(
            f"batch must be in [1, {len(source)}], the images, got {batch}",
            "use a smaller one, or drop_last=False where an incomplete batch will do, as in "
            "validation",
        )
    if ring == 1 and workers:
        raise ArgumentError(f"ring: {workers} workers need two slots or more, got {ring}")
    if workers and os.name != "posix":
        raise ArgumentError("worker processes need a POSIX system", "use workers=0")
