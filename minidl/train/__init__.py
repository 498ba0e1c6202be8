"""The training loop: epochs of steps, with progress that people can read."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from tqdm.auto import tqdm

from minidl.data import Dataset, batches
from minidl.ir import ArgumentError, Array
from minidl.runtime.step import Step

Schedule = Callable[[float], float]
"""A factor of the learning rate by the share of the training that is done."""


def constant(_: float) -> float:
    """The learning rate as it was set."""
    return 1.0


def cosine(done: float) -> float:
    """(1 + cos(pi done)) / 2 of it, `done` in [0, 1] (Loshchilov and Hutter 2017)."""
    return (1 + math.cos(math.pi * done)) / 2


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "constant": constant}


def fit(
    step: Step, data: Dataset, epochs: int, seed: int = 0, schedule: Schedule = constant
) -> float:
    """Train for `epochs` passes over `data` and return the test accuracy, in [0, 1].

    The learning rate of each step is the step's own, times `schedule` of the share done.

    On a terminal a progress bar shows loss, pictures per second and time left; elsewhere each
    epoch is a line. ArgumentError where a batch is larger than the data.
    """
    batch = step.plan.setting.batch
    if batch > len(data.train_images):
        raise ArgumentError(
            f"batch {batch} is larger than the {len(data.train_images)} training pictures of "
            f"{data.name}: use a smaller batch"
        )
    accuracy, rate = 0.0, step.learning_rate
    steps = epochs * (len(data.train_images) // batch)
    started = time.perf_counter()
    for epoch in range(epochs):
        losses: list[float] = []
        start = time.perf_counter()
        for images, labels in _shown(data, batch, epoch, epochs, seed, losses):
            step.learning_rate = rate * schedule((epoch * steps // epochs + len(losses)) / steps)
            losses.append(step(images, labels))
        speed = len(losses) * batch / (time.perf_counter() - start)
        accuracy = evaluate(step, data.test_images, data.test_labels)
        print(
            f"epoch {epoch + 1}/{epochs}  loss {np.mean(losses):.4f}  "
            f"test accuracy {100 * accuracy:.2f} %  {speed:,.0f} pictures/s  "
            f"{time.perf_counter() - started:.0f} s",
            flush=True,
        )
    step.learning_rate = rate
    return accuracy


def _shown(
    data: Dataset, batch: int, epoch: int, epochs: int, seed: int, losses: list[float]
) -> Iterator[tuple[Array, Array]]:
    """The batches of one epoch, behind a progress bar where someone looks."""
    with tqdm(
        total=len(data.train_images) // batch * batch,
        desc=f"epoch {epoch + 1}/{epochs}",
        unit=" pictures",
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        for pictures, labels in batches(data.train_images, data.train_labels, batch, seed, epoch):
            yield pictures, labels
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
            bar.update(batch)


def evaluate(step: Step, images: Array, labels: Array) -> float:
    """Share of `images` whose largest output is their label."""
    return float((step.predict(images).argmax(axis=1) == labels).mean())
