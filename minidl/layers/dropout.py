"""Dropout with a mask that is made again in backward instead of stored."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from minidl.host import CHUNK, run_chunks
from minidl.ir import ArgumentError, Array, Shape, Site, Tensor
from minidl.layers.base import Layer
from minidl.philox import random_words


@dataclass(frozen=True, eq=False)
class Dropout(Layer):
    """y = x s where kept, else +0; dx = dy s where kept, else +0 (Srivastava et al. 2014).

    s = 1 / (1 - p), computed in float64 and rounded to the tensor's dtype. Element i, counted in
    memory order, is kept where word(i) >= ceil(2^32 p): `minidl.philox.random_words` with the
    run's seed as key, the steps done as step and the CRC-32 of the layer's name as stream. Every
    device can therefore make the same mask at any time. Without training, or with p = 0, y is x.
    """

    couples_samples = True
    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ArgumentError(f"{self!r}: p must be in [0, 1)")

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        if self.p == 0 or not site.lowering.training:
            return x
        y = site.activation(x.shape)
        random = site.random_key(), site.step_counter()
        attributes = {"p": self.p, "stream": zlib.crc32(site.name.encode())}
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


def dropout_forward(y: Array, x: Array, key: Array, step: Array, *, p: float, stream: int) -> None:
    to, source = y.reshape(-1), x.reshape(-1)
    scale, threshold = 1 / (1 - p), math.ceil(p * 2**32)
    bits = to.view(f"i{to.itemsize}")  # the product of bits and 0 is +0, whatever the sign

    def chunk(i: slice) -> None:
        words = random_words(i.start, i.stop - i.start, key=int(key), step=int(step), stream=stream)
        np.multiply(source[i], scale, out=to[i])
        np.multiply(bits[i], words >= threshold, out=bits[i])

    run_chunks(chunk, to.size, CHUNK // 4)  # each word of four takes 8 bytes while it is made


def dropout_dgrad(dx: Array, dy: Array, key: Array, step: Array, *, p: float, stream: int) -> None:
    dropout_forward(dx, dy, key, step, p=p, stream=stream)
