"""A step allocates nothing of size: everything lies in the arena."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import minidl as dl
from minidl.ops import host
from tests.training import random_batches

MIB = 2**20


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each core in use has the temporaries of a chunk of its own."""
    monkeypatch.setattr(host, "cores", lambda: 2)


def peak_of(call: Callable[[], object]) -> int:
    """Traced bytes that the call had taken at most, over those before it."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        call()
        _, peak = tracemalloc.get_traced_memory()
        return peak - before
    finally:
        tracemalloc.stop()


def test_numpys_arrays_are_traced() -> None:
    assert peak_of(lambda: np.zeros(3 * MIB, np.uint8)) >= 3 * MIB


@pytest.mark.parametrize(
    ("model", "size", "memory", "optimizer"),
    [
        pytest.param("vgg11", 32, "arena", dl.SGD(0.01, 0.9), marks=pytest.mark.slow),
        ("alexnet", 64, "arena", dl.Adam()),
        ("alexnet", 64, "naive", dl.SGD(0.01, 0.9, nesterov=True)),
    ],
    ids=["vgg11-arena", "alexnet-arena-adam", "alexnet-naive"],
)
def test_a_step_allocates_less_than_a_mebibyte(
    model: str,
    size: int,
    memory: str,
    optimizer: dl.Optimizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = 8
    monkeypatch.setattr("minidl.runtime.step.Step._draw", lambda *_: None)  # zeros do as well
    network = dl.models.MODELS[model](classes=10, image=(size, size, 3))
    step = dl.compile(network, batch, memory=memory, optimizer=optimizer)
    step.arena.bytes[:] = 0
    generator = np.random.default_rng(0)
    ((images, labels),) = random_batches(generator, batch, (size, size, 3), 10, count=1)
    for _ in range(2):
        step(images, labels)
    assert peak_of(lambda: step(images, labels)) < MIB
    images = images[:3]
    assert peak_of(lambda: step.predict(images)) < MIB


def test_clipping_and_accumulation_allocate_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl.runtime.step.Step._draw", lambda *_: None)
    layers = dl.Conv2d(64, 3), dl.ReLU(), dl.MaxPool2d(2), dl.Flatten(), dl.Linear(256)
    network = dl.Sequential(dl.Input((32, 32, 3)), *layers, dl.ReLU(), dl.Linear(10))
    step = dl.compile(network, 8, clip_norm=1.0, accumulate=2, optimizer=dl.Adam())
    step.arena.bytes[:] = 0
    ((images, labels),) = random_batches(np.random.default_rng(0), 8, (32, 32, 3), 10, count=1)
    for _ in range(2):
        step(images, labels)
    assert peak_of(lambda: step(images, labels)) < MIB
    assert peak_of(lambda: step(images, labels)) < MIB


def test_layers_of_every_kind_allocate_little() -> None:
    x = dl.Input((24, 24, 16))
    y = dl.LocalResponseNorm()(dl.GELU()(dl.BatchNorm2d()(dl.Conv2d(32, 3, padding=1)(x))))
    z = dl.Concat()(dl.Sigmoid()(y), dl.LeakyReLU()(y), dl.GELU("tanh")(y))
    z = dl.AvgPool2d(2)(dl.Dropout()(dl.Add()(z, z)))
    z = dl.Flatten()(dl.AdaptiveAvgPool2d(5)(dl.Conv2d(32, 3, stride=2, groups=4)(z)))
    step = dl.compile(dl.Network(x, dl.Linear(10)(z)), 64, optimizer=dl.AdamW())
    ((images, labels),) = random_batches(np.random.default_rng(0), 64, (24, 24, 16), 10, count=1)
    for _ in range(2):
        step(images, labels)
    assert step.plan.arena_bytes > 40 * MIB
    assert (
        peak_of(lambda: step(images, labels)) < 4 * MIB
    )  # of 47 planned: each core has some chunks of 128 KiB
