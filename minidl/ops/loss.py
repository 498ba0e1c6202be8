"""Losses and where backward begins: equations in `minidl.layers.loss`."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array
from minidl.ops.host import CHUNK, run_chunks


def no_class(labels: Array, classes: int) -> Array:
    """Which labels are outside of [0, classes)."""
    outside: Array = (labels < 0) | (labels >= classes)
    return outside


def softmax_cross_entropy_forward(
    loss: Array, probabilities: Array, logits: Array, labels: Array, *, label_smoothing: float
) -> None:
    """Exponents have the row's maximum subtracted, so that none overflows."""
    n, classes = logits.shape
    losses = np.empty(n, logits.dtype)

    def samples(i: slice) -> None:
        p = probabilities[i]
        np.subtract(logits[i], logits[i].max(axis=1, keepdims=True), out=p)
        lost = no_class(labels[i], classes)
        wanted = p[np.arange(len(p)), np.where(lost, 0, labels[i])]
        if label_smoothing:
            wanted = (1 - label_smoothing) * wanted + label_smoothing * p.mean(axis=1)
        wanted[lost] = np.nan
        np.exp(p, out=p)
        total = p.sum(axis=1)
        np.subtract(np.log(total), wanted, out=losses[i])
        p /= total[:, None]

    run_chunks(samples, n, max(1, CHUNK // classes))
    np.mean(losses, out=loss)


def softmax_cross_entropy_dgrad(
    dlogits: Array, probabilities: Array, labels: Array, *, label_smoothing: float
) -> None:
    n, classes = probabilities.shape

    def samples(i: slice) -> None:
        dx = dlogits[i]
        np.subtract(probabilities[i], label_smoothing / classes, out=dx)
        lost = no_class(labels[i], classes)
        dx[np.arange(len(dx)), np.where(lost, 0, labels[i])] -= 1 - label_smoothing
        dx /= n
        dx[lost] = np.nan

    run_chunks(samples, n, max(1, CHUNK // classes))


def mse_forward(loss: Array, prediction: Array, target: Array) -> None:
    p, t = prediction.reshape(-1), target.reshape(-1)
    parts = np.empty(-(-p.size // CHUNK), p.dtype)

    def part(i: slice) -> None:
        difference = p[i] - t[i]
        difference *= difference
        parts[i.start // CHUNK] = np.add.reduce(difference)

    run_chunks(part, p.size)
    np.divide(np.add.reduce(parts), p.size, out=loss)


def mse_dgrad(dprediction: Array, prediction: Array, target: Array, *, scale: float) -> None:
    np.subtract(prediction, target, out=dprediction)
    np.multiply(dprediction, scale, out=dprediction)
