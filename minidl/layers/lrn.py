"""Local response normalization across channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.host import run_chunks
from minidl.ir import Array, Shape, ShapeError, Site, Tensor
from minidl.layers.base import Layer, require_rank
from minidl.layers.pixels import as_pixels, rows_per_chunk


@dataclass(frozen=True, eq=False)
class LocalResponseNorm(Layer):
    """y[c] = x[c] s[c]^-beta,  s[c] = k + alpha / size * sum over c' near c of x[c']^2

    with c' from c - size // 2 to c + (size - 1) // 2, as far as there are channels; x (N,H,W,C).
    dx[c] = dy[c] s[c]^-beta - 2 alpha beta / size x[c] sum of dy[c'] x[c'] s[c']^(-beta - 1)
    over the c' whose window holds c. Backward recomputes s: it needs x alone.

    Krizhevsky, Sutskever, Hinton 2012, with PyTorch's alpha, which is divided by `size`.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ShapeError(f"{self!r}: size must be at least 1")

    def output_shape(self, *inputs: Shape) -> Shape:
        require_rank(4, inputs[0], "(batch, height, width, channels)")
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        attributes = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
        site.forward(
            lrn_forward,
            writes=[y],
            reads=[x],
            in_place=((0, 0),),
            attributes=attributes,
            flops=y.size * (self.size + 4),
        )
        site.dgrad(
            lrn_dgrad,
            writes=[site.gradient(x)],
            reads=[site.gradient(y), x],
            in_place=((0, 0), (0, 1)),
            attributes=attributes,
            flops=y.size * (2 * self.size + 10),
        )
        return y


def lrn_forward(y: Array, x: Array, *, size: int, alpha: float, beta: float, k: float) -> None:
    out, pixels = as_pixels(y), as_pixels(x)

    def chunk(rows: slice) -> None:
        scale = _scale(pixels[rows], size, alpha, k)
        np.power(scale, -beta, out=scale)
        np.multiply(pixels[rows], scale, out=out[rows])

    run_chunks(chunk, len(pixels), rows_per_chunk(pixels))


def lrn_dgrad(
    dx: Array, dy: Array, x: Array, *, size: int, alpha: float, beta: float, k: float
) -> None:
    gradient, arriving, pixels = as_pixels(dx), as_pixels(dy), as_pixels(x)

    def chunk(rows: slice) -> None:
        scale = _scale(pixels[rows], size, alpha, k)
        direct = np.power(scale, -beta)
        direct *= arriving[rows]
        through_scale = direct * pixels[rows]
        through_scale /= scale
        total = _neighbour_sum(through_scale, (size - 1) // 2, size // 2)
        total *= pixels[rows]
        total *= 2 * alpha * beta / size
        np.subtract(direct, total, out=gradient[rows])

    run_chunks(chunk, len(pixels), rows_per_chunk(pixels))


def _scale(x: Array, size: int, alpha: float, k: float) -> Array:
    scale = _neighbour_sum(np.square(x), size // 2, (size - 1) // 2)
    scale *= alpha / size
    scale += k
    return scale


def _neighbour_sum(values: Array, before: int, after: int) -> Array:
    """For each channel the sum from `before` channels before it to `after` channels after it."""
    total, channels = values.copy(), values.shape[1]
    for shift in range(1, min(before, channels - 1) + 1):
        total[:, shift:] += values[:, :-shift]
    for shift in range(1, min(after, channels - 1) + 1):
        total[:, :-shift] += values[:, shift:]
    return total
