"""Local response normalization across channels."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.ir import Shape, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.readers import real, whole
from minidl.layers.base import Layer, require_rank
from minidl.ops.lrn import lrn_dgrad, lrn_forward


@called(readers={"size": whole(1, size=True), "alpha": real(0), "k": real(0)})
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
