"""Linear: y = x w^T + b."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field

from minidl.ir import Shape, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.readers import optional, whole
from minidl.layers.base import Layer, require_rank
from minidl.layers.bias import add_bias_wgrad
from minidl.layers.initial import INITIAL, Initial, lecun_uniform, uniform
from minidl.ops.linear import linear_dgrad, linear_forward, linear_wgrad


@called(
    "write the output's features alone, the input's are known: Linear(10)",
    {
        "features": whole(1, size=True),
        "initial": INITIAL,
        "initial_bias": optional(INITIAL),
    },
    in_features="",
    out_features="features",
    units="features",
    use_bias="bias",
)
@dataclass(frozen=True, eq=False)
class Linear(Layer):
    """y[n, f] = sum_i x[n, i] w[f, i] + b[f]; x (N, inputs), w (features, inputs), b (features).

    dx = dy w, dw = dy^T x, db = sum_n dy[n].
    """

    order = "new"
    features: int
    _: KW_ONLY
    bias: bool = True
    initial: Initial = field(default=lecun_uniform, repr=False)
    initial_bias: Initial | None = field(default=None, repr=False)
    """None: U(-1/sqrt(inputs), 1/sqrt(inputs)), PyTorch's default."""

    def output_shape(self, *inputs: Shape) -> Shape:
        require_rank(2, inputs[0], "(batch, features)")
        return inputs[0][0], self.features

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        w = site.parameter("weight", (self.features, x.shape[1]), self.initial, along=(1, x))
        flops = 2 * y.size * x.shape[1]
        b = self._bias(site, x.shape[1])
        dy, dx, dw = (site.gradient(t) for t in (y, x, w))
        site.forward(linear_forward, writes=[y], reads=[x, w, *b], flops=flops)
        site.dgrad(linear_dgrad, writes=[dx], reads=[dy, w], flops=flops)
        site.wgrad(linear_wgrad, writes=[dw], reads=[dy, x], flops=flops)
        for bias in b:
            add_bias_wgrad(site, bias, y)
        return y

    def _bias(self, site: Site, inputs: int) -> tuple[Tensor, ...]:
        if not self.bias:
            return ()
        initial = self.initial_bias or uniform(1 / math.sqrt(inputs))
        return (site.parameter("bias", (self.features,), initial),)
