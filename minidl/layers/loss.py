"""Losses: the scalar that training makes small, and where backward begins."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from minidl.ir import ArgumentError, Array, Shape, ShapeError, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.readers import SHARE
from minidl.layers.base import Layer
from minidl.ops.loss import (
    mse_dgrad,
    mse_forward,
    no_class,
    softmax_cross_entropy_dgrad,
    softmax_cross_entropy_forward,
)


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


@called(
    "write CrossEntropy(label_smoothing=0.1); classes have no weights", {"label_smoothing": SHARE}
)
@dataclass(frozen=True, eq=False)
class CrossEntropy(Loss):
    """loss = -mean_n sum_k t[n,k] log p[n,k], p = softmax(logits), logits (N, K), labels (N) int64.

    t = (1 - e) onehot(labels) + e / K with e = `label_smoothing` (Szegedy et al. 2016), as in
    PyTorch. dlogits = (p - t) / N: the two gradients in one op, which may lie over p. A label that
    is no class is refused on the host; one that gets past makes the loss and its row NaN.
    """

    _: KW_ONLY
    label_smoothing: float = 0.0

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
            writes=[loss, probabilities],
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


@called("write MSE(), the mean over all elements")
@dataclass(frozen=True, eq=False)
class MSE(Loss):
    """loss = mean (prediction - target)^2 over all elements; dprediction = 2 (p - t) / elements."""

    def target(self, prediction: Shape) -> tuple[Shape, str | None]:
        return prediction, None

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        prediction, target = inputs
        shape = self.output_shape(prediction.shape, target.shape)
        loss = site.activation(shape, "loss", site.lowering.master)
        site.forward(
            mse_forward,
            writes=[loss],
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
