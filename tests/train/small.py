"""A small run: a network with all that has state, and images that it can learn."""

from __future__ import annotations

from typing import Any

import numpy as np

import minidl as dl
from minidl.ir import Array
from minidl.train import InOrder, Shuffled

BATCH, IMAGE, CLASSES = 4, (6, 6, 2), 6


def network(hidden: int = 8) -> dl.Network:
    """Batch statistics, dropout, convolution and matrices."""
    x = dl.Input(IMAGE)
    y = dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(4, 3, padding=1)(x, name="conv"), name="norm"))
    y = dl.Dropout(0.3)(dl.Flatten()(dl.MaxPool2d(2)(y)), name="drop")
    y = dl.ReLU()(dl.Linear(hidden)(y, name="hidden"))
    return dl.Network(x, dl.Linear(CLASSES)(y, name="out"), name="small")


def compiled(hidden: int = 8, **how: Any) -> dl.Step:
    how = {"optimizer": dl.SGD(0.05, 0.9), **how}
    return dl.compile(network(hidden), BATCH, **how)


def made_images(count: int, seed: int = 5) -> tuple[Array, Array]:
    """Each class has a pattern of its own, under noise."""
    generator = np.random.default_rng(seed)
    patterns = np.random.default_rng(1).normal(size=(CLASSES, *IMAGE))
    labels = generator.integers(0, CLASSES, count)
    noise = generator.normal(size=(count, *IMAGE))
    return (patterns[labels] + 0.5 * noise).astype(np.float32), labels


def training(count: int = 24, seed: int = 0) -> Shuffled:
    """Six batches an epoch."""
    return Shuffled(*made_images(count), BATCH, seed=seed)


def validation(count: int = 14) -> InOrder:
    return InOrder(*made_images(count, seed=6), BATCH)
