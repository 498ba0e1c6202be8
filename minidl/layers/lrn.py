"""Local response normalization across channels."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.ir import ArgumentError, Shape, ShapeError, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.numbers import is_between, is_real
from minidl.layers.base import Layer, require_rank, whole
from minidl.ops.lrn import lrn_dgrad, lrn_forward


@called()
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
        whole(self, size=self.size)
        if not (is_between(self.alpha, 0) and is_real(self.beta) and is_between(self.k, 0)):
            raise ArgumentError(f"{self!r}: alpha, beta, k must be numbers, alpha and k at least 0")
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
