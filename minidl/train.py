"""The training loop: epochs of steps, with progress that people can read."""

from __future__ import annotations

import sys
import time

import numpy as np
from tqdm.auto import tqdm

from minidl.data import Dataset, batches
from minidl.ir import ArgumentError, Array
from minidl.runtime.step import Step


def fit(step: Step, data: Dataset, epochs: int, seed: int = 0) -> float:
    """Train for `epochs` passes over `data` and return the test accuracy, in [0, 1].

    On a terminal a progress bar shows loss, pictures per second and time left; elsewhere each
    epoch is a line. ArgumentError where a batch is larger than the data.
    """
    batch = step.plan.setting.batch
    if batch > len(data.train_images):
        raise ArgumentError(
            f"batch {batch} is larger than the {len(data.train_images)} training pictures of "
            f"{data.name}: use a smaller batch"
        )
    accuracy = 0.0
    started = time.perf_counter()
    for epoch in range(epochs):
        loss, rate = _epoch(step, data, epoch, epochs, seed)
        accuracy = evaluate(step, data.test_images, data.test_labels)
        print(
            f"epoch {epoch + 1}/{epochs}  loss {loss:.4f}  test accuracy {100 * accuracy:.2f} %  "
            f"{rate:,.0f} pictures/s  {time.perf_counter() - started:.0f} s",
            flush=True,
        )
    return accuracy


def _epoch(step: Step, data: Dataset, epoch: int, epochs: int, seed: int) -> tuple[float, float]:
    """Mean loss and pictures per second of one pass."""
    batch = step.plan.setting.batch
    steps = len(data.train_images) // batch
    losses: list[float] = []
    start = time.perf_counter()
    with tqdm(
        total=steps * batch,
        desc=f"epoch {epoch + 1}/{epochs}",
        unit=" pictures",
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        for images, labels in batches(data.train_images, data.train_labels, batch, seed, epoch):
            losses.append(step(images, labels))
            bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
            bar.update(batch)
    return float(np.mean(losses)), steps * batch / (time.perf_counter() - start)


def evaluate(step: Step, images: Array, labels: Array) -> float:
    """Share of `images` whose largest output is their label."""
    return float((step.predict(images).argmax(axis=1) == labels).mean())
