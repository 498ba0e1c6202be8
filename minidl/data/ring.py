"""Memory that several processes share: a ring of batches, each images and labels."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from minidl.ir import Array

Job = list[memoryview]
"""What is sent to workers: a pickle, and the arrays in it."""

LINE = 64
"""Bytes: slots start on cache lines, so that two workers do not write to one."""


@dataclass(frozen=True)
class Shape:
    """What a ring holds: `slots` batches of images (batch, *image) and labels (batch,)."""

    slots: int
    batch: int
    image: tuple[int, ...]
    dtype: str

    @property
    def image_bytes(self) -> int:
        return _lined(self.batch * math.prod(self.image) * np.dtype(self.dtype).itemsize)

    @property
    def slot_bytes(self) -> int:
        return self.image_bytes + _lined(8 * self.batch)

    @property
    def total_bytes(self) -> int:
        return self.slots * self.slot_bytes


class Ring:
    """Views of one mapped file that has no name: nothing to clean up, whoever dies.

    The mapping goes when the last view of it goes.
    """

    def __init__(self, shape: Shape, file: int) -> None:
        memory = mmap.mmap(file, shape.total_bytes)
        self.images: list[Array] = []
        self.labels: list[Array] = []
        for start in range(0, shape.total_bytes, shape.slot_bytes):
            pixels = np.ndarray((shape.batch, *shape.image), shape.dtype, memory, start)
            labels = np.ndarray((shape.batch,), np.int64, memory, start + shape.image_bytes)
            self.images.append(pixels)
            self.labels.append(labels)


def unnamed_file(size: int) -> int:
    """A descriptor of `size` zero bytes of memory; of a deleted file where memfd is not there.

    Not in /dev/shm, which containers limit to 64 MB, where a write beyond kills the process.
    """
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("minidl")
    else:
        with tempfile.TemporaryFile() as named:
            file = os.dup(named.fileno())
    os.ftruncate(file, size)
    return file


def file_with(parts: Job) -> int:
    """A descriptor of an unnamed file that holds `parts`, behind their number and sizes."""
    sizes = np.array([len(parts), *(part.nbytes for part in parts)], np.int64)
    starts = _starts(sizes)
    file = unnamed_file(max(1, starts[-1]))
    with mmap.mmap(file, 0) as memory:
        memory[: sizes.nbytes] = sizes.tobytes()
        for start, part in zip(starts, parts, strict=False):
            memory[start : start + part.nbytes] = part
    return file


def read_parts(file: int) -> Job:
    """The parts of such a file, where they lie: readers share memory, but for what they write."""
    memory = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_COPY))
    count = int(np.frombuffer(memory[:8], np.int64)[0])
    sizes = np.frombuffer(memory[: 8 * (count + 1)], np.int64)
    return [
        memory[start : start + size]
        for start, size in zip(_starts(sizes), sizes[1:].tolist(), strict=False)
    ]


def _starts(sizes: Array) -> list[int]:
    """Where each part begins, on a line of its own, and behind them the end."""
    lined = map(_lined, [sizes.nbytes, *sizes[1:].tolist()])
    return list(accumulate(lined))


def _lined(size: int) -> int:
    return -(-size // LINE) * LINE
