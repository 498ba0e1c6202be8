"""The layers: shape rule, ops and gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minidl.ir import Shape, ShapeError, Site, Tensor
from minidl.ir.op import Function
from minidl.layers import Layer
from minidl.layers.activation import Activation
from minidl.layers.initial import constant
from tests.outside.smooth.functions import (
    softplus_dgrad,
    softplus_forward,
    swish_dgrad,
    swish_forward,
    swish_wgrad,
)


@dataclass(frozen=True, eq=False)
class Softplus(Activation):
    """y = log(1 + exp(beta x)) / beta; dx = dy (1 - exp(-beta y)). Backward needs y alone."""

    beta: float = 1.0

    def functions(self) -> tuple[Function, Function]:
        return softplus_forward, softplus_dgrad

    def attributes(self) -> Mapping[str, Any]:
        return {"beta": self.beta}


@dataclass(frozen=True, eq=False)
class Swish(Layer):
    """y = x s, s = 1 / (1 + exp(-beta x)); x (N, ..., C), beta (C) trained, first 1.

    dx = dy (s + beta x s (1 - s)), dbeta[c] = sum of dy x^2 s (1 - s) over samples and pixels.
    Ramachandran, Zoph, Le 2017.
    """

    order = "same"

    def output_shape(self, *inputs: Shape) -> Shape:
        if len(inputs[0]) < 2:
            raise ShapeError(f"needs channels behind the batch, got {inputs[0]}")
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        beta = site.parameter("beta", x.shape[-1:], constant(1.0), along=(0, x))
        dy, in_place = site.gradient(y), ((0, 0),)
        site.forward(
            swish_forward, writes=[y], reads=[x, beta], in_place=in_place, flops=5 * y.size
        )
        site.dgrad(
            swish_dgrad,
            writes=[site.gradient(x)],
            reads=[dy, x, beta],
            in_place=((0, 0), (0, 1)),
            flops=8 * y.size,
        )
        site.wgrad(
            swish_wgrad,
            writes=[site.gradient(beta)],
            reads=[dy, x, beta],
            flops=8 * y.size,
        )
        return y
