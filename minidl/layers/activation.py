"""Elementwise activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from minidl.ir import Shape, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.op import Commutes, Function
from minidl.ir.readers import choice, real
from minidl.layers.base import Layer
from minidl.ops.activation import (
    gelu_dgrad,
    gelu_forward,
    gelu_tanh_dgrad,
    gelu_tanh_forward,
    leaky_relu_dgrad,
    leaky_relu_forward,
    relu_dgrad,
    relu_forward,
    sigmoid_dgrad,
    sigmoid_forward,
    tanh_dgrad,
    tanh_forward,
)


class Activation(Layer):
    """y = f(x), dx = dy f'(x), element by element."""

    order = "same"
    keeps: ClassVar[Literal["x", "y"]] = "y"
    """What backward reads beside dy: the output where f' follows from it."""
    commutes: ClassVar[Commutes] = ""

    def functions(self) -> tuple[Function, Function]:
        """forward(y, x, **attributes) and dgrad(dx, dy, kept, **attributes)."""
        raise NotImplementedError

    def attributes(self) -> Mapping[str, Any]:
        return {}

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        forward, dgrad = self.functions()
        contract: dict[str, Any] = {
            "attributes": self.attributes(),
            "flops": y.size,
            "elementwise": True,
            "strided": True,
            "commutes": self.commutes,
        }
        site.forward(forward, writes=[y], reads=[x], in_place=((0, 0),), cheap=True, **contract)
        site.dgrad(
            dgrad,
            writes=[site.gradient(x)],
            reads=[site.gradient(y), y if self.keeps == "y" else x],
            in_place=((0, 0), (0, 1)),
            **contract,
        )
        return y


@called(inplace="")
@dataclass(frozen=True, eq=False)
class ReLU(Activation):
    """y = max(x, 0); dx = +0 where y <= 0, else dy: also where y is NaN. Backward needs y alone."""

    commutes = "positive"

    def functions(self) -> tuple[Function, Function]:
        return relu_forward, relu_dgrad


@called(
    "write LeakyReLU(0.01), the slope below 0",
    {"slope": replace(real(0, above=True), hint="use ReLU for 0")},
    inplace="",
    negative_slope="slope",
    alpha="slope",
)
@dataclass(frozen=True, eq=False)
class LeakyReLU(Activation):
    """y = x where x > 0, else slope x; dx = dy where y > 0, else slope dy (Maas et al. 2013).

    The slope must be positive: then y has the sign of x, and backward needs y alone.
    """

    slope: float = 0.01

    def functions(self) -> tuple[Function, Function]:
        return leaky_relu_forward, leaky_relu_dgrad

    def attributes(self) -> Mapping[str, Any]:
        return {"slope": self.slope}


@called()
@dataclass(frozen=True, eq=False)
class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)); dx = dy y (1 - y)."""

    def functions(self) -> tuple[Function, Function]:
        return sigmoid_forward, sigmoid_dgrad


@called()
@dataclass(frozen=True, eq=False)
class Tanh(Activation):
    """y = tanh(x); dx = dy (1 - y^2)."""

    def functions(self) -> tuple[Function, Function]:
        return tanh_forward, tanh_dgrad


@called(readers={"approximate": choice(("none", "tanh"))})
@dataclass(frozen=True, eq=False)
class GELU(Activation):
    """y = x P(x), dx = dy (P(x) + x P'(x)), P the normal distribution (Hendrycks, Gimpel 2016).

    With approximate="tanh", P(x) = (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.
    """

    keeps = "x"
    approximate: Literal["none", "tanh"] = "none"

    def functions(self) -> tuple[Function, Function]:
        if self.approximate == "tanh":
            return gelu_tanh_forward, gelu_tanh_dgrad
        return gelu_forward, gelu_dgrad
