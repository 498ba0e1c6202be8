"""Dropout with a mask that is made again in backward instead of stored."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.ir import Shape, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.readers import real
from minidl.layers.base import Layer
from minidl.ops.dropout import dropout_dgrad, dropout_forward


@called(
    "write Dropout(0.5), the share that is dropped",
    {"p": real(0, 1, below=True)},
    inplace="",
    rate="p",
    seed="",
)
@dataclass(frozen=True, eq=False)
class Dropout(Layer):
    """y = x s where kept, else +0; dx = dy s where kept, else +0 (Srivastava et al. 2014).

    s = 1 / (1 - p), computed in float64 and rounded to the tensor's dtype. Element i, counted in
    memory order, is kept where word(i) >= ceil(2^32 p): `minidl.philox.random_words` with the
    run's seed as key, the steps done as step and a stream that this place of the network has alone:
    the CRC-32 of its name, unless another has that. Every device can therefore make the same mask
    at any time. Without training, or with p = 0, y is x.
    """

    couples_samples = True
    order = "same"
    p: float = 0.5

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        if self.p == 0 or not site.lowering.training:
            return x
        y = site.activation(x.shape)
        random = site.random_key(), site.step_counter()
        attributes = {"p": self.p, "stream": site.random_stream()}
        site.forward(
            dropout_forward,
            writes=[y],
            reads=[x, *random],
            attributes=attributes,
            in_place=((0, 0),),
            flops=y.size,
            commutes="selection",
            cheap=True,
        )
        site.dgrad(
            dropout_dgrad,
            writes=[site.gradient(x)],
            reads=[site.gradient(y), *random],
            attributes=attributes,
            in_place=((0, 0),),
            flops=y.size,
            commutes="selection",
        )
        return y
