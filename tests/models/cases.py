"""What the reference and minidl train alike: models, settings, deterministic arrays, figures.

NumPy only. Every array follows from its name through Philox, so that none has to be stored, and
holds numbers of few bits: float32 and float64 start from exactly the same ones.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]
Figures = dict[str, Any]

FILE = Path(__file__).with_name("reference.json")

IMAGES: dict[str, Shape] = {
    "lenet": (32, 32, 1),
    "alexnet": (96, 80, 3),
    "alexnet_2012": (99, 67, 3),
    "vgg11": (64, 32, 3),
    "vgg11_bn": (64, 32, 3),
    "resnet18": (96, 64, 3),
    "resnet50": (96, 64, 3),
    "googlenet": (96, 64, 3),
    "densenet121": (96, 64, 3),
}
"""(height, width, channels): not square where the model allows it, so that no axes can swap. At
alexnet_2012's size Caffe's pooling, which rounds up, and PyTorch's agree."""

PIXELS = {"alexnet_2012": 2.0}
"""Largest pixel, if not 1: larger ones give the LRN more to normalize."""

FILTERS = dict.fromkeys(("vgg11_bn", "resnet50", "googlenet", "densenet121"), 4)
"""Scale of a model's filters, if not 1. Larger ones before a batch normalization make its training
less chaotic: rounding errors then grow little from step to step."""

FIRST = {"alexnet_2012": 96, "resnet18": 324, "vgg11_bn": 36}
"""Number of a model's first batch, if not 0: of those tried the one whose ReLU inputs stay furthest
from 0, and rivals in a pool from each other. Float32 seldom rounds across such a gap."""

BATCH, CLASSES, STEPS = 4, 10, 4
SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
SAMPLES = 8

CHUNK = 2**17
"""Elements of a tensor that are compared at once: they stay in the cache."""


def words(name: str, count: int) -> Array:
    """`count` random uint16: the raw stream of Philox, which NumPy promises not to change."""
    raw = np.random.Philox(key=zlib.crc32(name.encode())).random_raw(-(-count // 4))
    return raw.astype("<u8", copy=False).view("<u2")[:count]


def uniform(name: str, shape: Shape, bound: float) -> Array:
    """U(-bound, bound) in float32, odd multiples of bound / 2^16: exact for a power of two."""
    values = words(name, math.prod(shape)).astype(np.float32)
    values -= 32767.5
    values *= bound / 32768
    return values.reshape(shape)


def initial(model: str, name: str, shape: Shape) -> Array:
    """The first value of a tensor of the state dict, by its PyTorch name and shape.

    Scaled by 1 / sqrt(fan_in), and such that signals neither die nor explode on their way through
    any of the models: neither with the batch's statistics nor with the running ones.
    """
    kind, scale = name.rpartition(".")[2], FILTERS.get(model, 1)
    if kind == "num_batches_tracked":
        return np.array(7)
    if kind == "weight" and len(shape) > 1:
        bound = math.sqrt(3 / math.prod(shape[1:]))
        filters = scale if len(shape) == 4 else 1
        return uniform(name, shape, filters * 2.0 ** round(math.log2(bound)))
    if kind == "weight":
        return 1 / 4 + uniform(name, shape, 1 / 8)
    if kind == "running_var":
        return scale**2 * (1 / 16 + uniform(name, shape, 1 / 32))
    return uniform(name, shape, 1 / 32)  # bias, running_mean


def initials(model: str, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    return {name: initial(model, name, shape) for name, shape in shapes.items()}


def batches(model: str) -> list[tuple[Array, Array]]:
    """A batch of NHWC images and labels for each step, all different."""
    shape, bound, first = (BATCH, *IMAGES[model]), PIXELS.get(model, 1.0), FIRST.get(model, 0)
    return [
        (uniform(f"images {i}", shape, bound), words(f"labels {i}", BATCH).astype(int) % CLASSES)
        for i in range(first, first + STEPS)
    ]


def figures(name: str, before: Array, after: Array) -> Figures:
    """What is compared of a tensor: the sum, the norm and samples of its change in training."""
    total = square = 0.0
    old, new, indices = before.reshape(-1), after.reshape(-1), sampled(name, after.shape)
    for start in range(0, new.size, CHUNK):
        part = slice(start, start + CHUNK)
        change = np.subtract(new[part], old[part], dtype=np.float64)
        total += float(change.sum())
        square += float(np.vdot(change, change))
    samples = np.subtract(new[indices], old[indices], dtype=np.float64)
    return {
        "shape": list(after.shape),
        "sum": total,
        "norm": math.sqrt(square),
        "samples": samples.tolist(),
    }


def sampled(name: str, shape: Shape) -> Array:
    """Indices of the sampled entries, in the order of PyTorch's layout."""
    random = words(f"samples {name}", 2 * SAMPLES).astype(np.int64).reshape(2, SAMPLES)
    indices: Array = (random[0] << 16 | random[1]) % math.prod(shape)
    return indices
