"""Metrics that stream over batches: the same result however the images are cut."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.ir import ArgumentError, Array, ShapeError
from minidl.ir.arrays import require_unmasked
from minidl.ir.calls import called
from minidl.ir.printed import never_raises
from minidl.ir.readers import having
from minidl.runtime.step import Step


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What a network is worth on some images."""

    count: int
    loss: float
    """Mean over the images: cross-entropy without label smoothing, or squared error."""
    top1: float | None = None
    top5: float | None = None
    """Share of images in [0, 1] whose label is the largest output, one of the five largest;
    None where targets are not labels."""
    confusion: Array | None = None
    """(K, K) int64: [i, j] images of class i for which j is the largest output; None above
    MOST_CONFUSED classes."""
    left_out: int = 0
    """Images that could not be decoded and are not in `count`."""

    @never_raises
    def __repr__(self) -> str:
        shares = {"top-1": self.top1, "top-5": self.top5}
        said = [f"{name} {share:.2%}" for name, share in shares.items() if share is not None]
        left = [f"{self.left_out:,} left out"] if self.left_out else []
        measured = ", ".join((f"{self.count:,} images", f"loss {self.loss:.4g}", *said, *left))
        return f"<Evaluation of {measured}>"


MOST_CONFUSED = 2000
"""Classes of a confusion matrix at most: 32 MB, which nobody can look at anyway."""


class Metrics:
    """Counts and exact sums of losses over batches of outputs (N, K) and labels (N,)."""

    def __init__(self) -> None:
        self.count = 0
        self._losses: list[Array] = []
        self._top1 = self._top5 = 0
        self._labels = False
        self._confusion: Array | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies count on their own."""
        return {**vars(self), "_losses": list(self._losses)}

    def add(self, outputs: Array, targets: Array) -> None:
        """Take in a batch. Integer targets are labels, others what the outputs should be;
        ShapeError or ArgumentError where they do not fit."""
        require_unmasked(outputs=outputs, targets=targets)
        require_targets(targets, outputs.shape)
        if np.issubdtype(targets.dtype, np.integer):
            self._add_labels(outputs, targets)
        else:
            difference = outputs.astype(np.float64) - targets
            self._losses.append(np.square(difference).reshape(len(outputs), -1).mean(axis=1))
        self.count += len(outputs)

    def _add_labels(self, outputs: Array, labels: Array) -> None:
        classes = outputs.shape[1]
        place = ranks(outputs, labels)
        self._losses.append(cross_entropy(outputs, labels))
        self._top1 += int((place < 1).sum())
        self._top5 += int((place < 5).sum())
        self._labels = True
        if self._confusion is None and classes <= MOST_CONFUSED:
            self._confusion = np.zeros((classes, classes), np.int64)
        if self._confusion is not None:
            np.add.at(self._confusion, (labels, outputs.argmax(axis=1)), 1)

    def result(self) -> Evaluation:
        """ArgumentError where there was no image."""
        if not self.count:
            raise ArgumentError("no images to evaluate on")
        loss = _mean(np.concatenate(self._losses))
        if not self._labels:
            return Evaluation(self.count, loss)
        tops = self._top1 / self.count, self._top5 / self.count
        return Evaluation(self.count, loss, *tops, self._confusion)


def _mean(losses: Array) -> float:
    """The sum rounded once, so that neither order nor cuts matter."""
    if not np.isfinite(losses).all():
        return float(losses.mean())
    return math.fsum(losses) / losses.size


def require_targets(targets: Array, outputs: tuple[int, ...]) -> None:
    """ShapeError or ArgumentError unless outputs of that shape can be compared with the targets."""
    labels = np.issubdtype(targets.dtype, np.integer)
    expected = outputs[:1] if labels else outputs
    if targets.shape != expected:
        raise ShapeError(f"targets must have shape {expected}, got {targets.shape}")
    if labels and targets.size and not 0 <= targets.min() <= targets.max() < outputs[1]:
        raise ArgumentError(f"labels must be in [0, {outputs[1]}), the network's classes")


def ranks(outputs: Array, labels: Array) -> Array:
    """How many classes come before the label's, (N,): larger outputs, and equal ones of smaller
    index, as argmax has it. A NaN is larger than any number, and never right."""
    own = np.take_along_axis(outputs, labels[:, None], axis=1)
    before = ~(outputs <= own)
    before |= (outputs == own) & (np.arange(outputs.shape[1]) < labels[:, None])
    count: Array = before.sum(axis=1)
    return np.where(np.isnan(own[:, 0]), outputs.shape[1] + 5, count)


def cross_entropy(outputs: Array, labels: Array) -> Array:
    """log sum_k exp(outputs[n, k]) - outputs[n, labels[n]] in float64: (N,)."""
    x = outputs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        x -= x.max(axis=1, keepdims=True)
        own = np.take_along_axis(x, labels[:, None], axis=1)[:, 0]
        losses: Array = np.log(np.exp(x).sum(axis=1)) - own
    return losses


def no_confusion(what: str) -> str:
    """Why there is no confusion matrix, in a line."""
    return f"no {what}: a confusion matrix is made for at most {MOST_CONFUSED:,} classes"


@called(readers={"step": having("a step, or what else predicts", "predict")})
def measure(step: Step, batches: Iterable[tuple[Array, ...]]) -> Evaluation:
    """Predict every batch (inputs..., targets) of `batches`, of any size, and compare."""
    metrics = Metrics()
    for *inputs, targets in batches:
        require_unmasked(targets=targets)
        metrics.add(step.predict(*inputs), np.asarray(targets))
    return metrics.result()
