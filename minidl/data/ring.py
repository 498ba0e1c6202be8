"""Memory that several processes share: a ring of batches, each images and labels."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from dataclasses import dataclass

import numpy as np

from minidl.ir import Array

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


def file_with(content: bytes) -> int:
    """A descriptor of an unnamed file that holds `content`."""
    file = unnamed_file(len(content))
    with mmap.mmap(file, len(content)) as memory:
        memory[:] = content
    return file


def _lined(size: int) -> int:
    return -(-size // LINE) * LINE
