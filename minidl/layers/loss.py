"""Losses: the scalar that training makes small, and where backward begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.host import CHUNK, run_chunks
from minidl.ir import ArgumentError, Array, Shape, ShapeError, Site, Tensor
from minidl.launches.small import mse_parts
from minidl.layers.base import Layer


class Loss(Layer):
    """A layer of two inputs, prediction and target, whose output is the loss, of shape ().

    Its gradient op reads no arriving gradient: dLoss / dLoss is 1. The target has none.
    """

    def target(self, prediction: Shape) -> tuple[Shape, str | None]:
        """Shape and dtype of the target that fits a prediction; None: the step's own dtype."""
        raise NotImplementedError

    def check(self, target: Array, prediction: Shape) -> None:
        """ArgumentError where the target has values that this loss has no meaning for."""

    def output_shape(self, *inputs: Shape) -> Shape:
        prediction, target = inputs
        expected, _ = self.target(prediction)
        if target != expected:
            raise ShapeError(f"the target must have shape {expected}, got {target}")
        return ()


@dataclass(frozen=True, eq=False)
class CrossEntropy(Loss):
    """loss = -mean_n sum_k t[n,k] log p[n,k], p = softmax(logits), logits (N, K), labels (N) int64.

    t = (1 - e) onehot(labels) + e / K with e = `label_smoothing` (Szegedy et al. 2016), as in
    PyTorch. dlogits = (p - t) / N: the two gradients in one op, which may lie over p. A label that
    is no class is refused on the host; one that gets past makes the loss and its row NaN.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ArgumentError(f"{self!r}: label_smoothing must be in [0, 1]")

    def target(self, prediction: Shape) -> tuple[Shape, str | None]:
        if len(prediction) != 2:
            raise ShapeError(f"{self!r} needs a prediction (batch, classes), got {prediction}")
        return prediction[:1], "int64"

    def check(self, target: Array, prediction: Shape) -> None:
        (bad,) = np.nonzero(no_class(target, prediction[1]))
        if bad.size:
            raise ArgumentError(
                f"{self!r}: labels must be in [0, {prediction[1]}), the network's classes; "
                f"got {target[bad[0]]} in row {bad[0]}"
            )

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        logits, labels = inputs
        shape = self.output_shape(logits.shape, labels.shape)
        loss = site.activation(shape, "loss", site.lowering.master)
        probabilities = site.mask(logits.shape, "probabilities")
        attributes = {"label_smoothing": self.label_smoothing}
        same = probabilities.dtype == logits.dtype
        site.forward(
            softmax_cross_entropy_forward,
            writes=[loss, probabilities, *site.device_scratch(logits.shape[0])],
            reads=[logits, labels],
            attributes=attributes,
            in_place=((1, 0),) if same else (),
            flops=4 * logits.size,
        )
        site.dgrad(
            softmax_cross_entropy_dgrad,
            writes=[site.gradient(logits)],
            reads=[probabilities, labels],
            attributes=attributes,
            in_place=((0, 0),) if same else (),
            flops=2 * logits.size,
        )
        return loss


@dataclass(frozen=True, eq=False)
class MSE(Loss):
    """loss = mean (prediction - target)^2 over all elements; dprediction = 2 (p - t) / elements."""

    def target(self, prediction: Shape) -> tuple[Shape, str | None]:
        return prediction, None

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        prediction, target = inputs
        shape = self.output_shape(prediction.shape, target.shape)
        loss = site.activation(shape, "loss", site.lowering.master)
        parts, _ = mse_parts(prediction.size)
        site.forward(
            mse_forward,
            writes=[loss, *site.device_scratch(parts)],
            reads=[prediction, target],
            flops=3 * prediction.size,
        )
        site.dgrad(
            mse_dgrad,
            writes=[site.gradient(prediction)],
            reads=[prediction, target],
            attributes={"scale": 2 / prediction.size},
            in_place=((0, 0),),
            flops=2 * prediction.size,
            elementwise=True,
        )
        return loss


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
