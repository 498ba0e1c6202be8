"""Train a small network for a few steps, and say in bits what came out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import minidl as dl
from minidl.compiler.modes import MODES
from minidl.ir import Array

Batch = tuple[Array, Array]

OTHER_MODES = tuple(name for name in MODES if name != "naive")


@dataclass(frozen=True)
class Outcome:
    """What must not depend on the memory mode: every value as bits."""

    losses: tuple[str, ...]
    variables: dict[str, str]
    prediction: str


def bits(array: Array) -> str:
    """A digest of an array's bytes."""
    return hashlib.blake2b(np.ascontiguousarray(array)).hexdigest()


def variables(step: dl.Step) -> dict[str, Array]:
    """A view of every variable of a step, optimizer state included."""
    return {v.name: step.array(v.name) for v in step.plan.graph.variables}


def state_bits(step: dl.Step) -> dict[str, str]:
    return {name: bits(array) for name, array in variables(step).items()}


def train(network: dl.Layer, data: Sequence[Batch], memory: str, **options: Any) -> Outcome:
    """Compile for the batches in `data`, take a step on each, predict the first."""
    step = dl.compile(network, len(data[0][0]), memory=memory, **options)
    losses = tuple(float(step(*batch)).hex() for batch in data)
    prediction = step.predict(data[0][0])
    return Outcome(losses, state_bits(step), bits(prediction))


def assert_same_bits_in_every_mode(
    network: dl.Layer, data: Sequence[Batch], modes: Sequence[str] = OTHER_MODES, **options: Any
) -> Outcome:
    """Each of the modes against `naive`: losses, every variable and a prediction."""
    expected = train(network, data, "naive", **options)
    assert np.isfinite([float.fromhex(loss) for loss in expected.losses]).all()
    for memory in modes:
        assert train(network, data, memory, **options) == expected, memory
    return expected


def random_batches(
    generator: np.random.Generator, batch: int, image: tuple[int, ...], classes: int, count: int = 2
) -> list[Batch]:
    return [
        (generator.normal(size=(batch, *image)), generator.integers(0, classes, batch))
        for _ in range(count)
    ]
