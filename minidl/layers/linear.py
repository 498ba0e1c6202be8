"""Linear: y = x w^T + b."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from minidl.cards import card_of
from minidl.ir import Shape, ShapeError, Site, Tensor
from minidl.layers.base import Layer, require_bool, require_rank
from minidl.layers.bias import add_bias_wgrad
from minidl.layers.initial import Initial, lecun_uniform, uniform
from minidl.ops.cuda.linear import linear_products
from minidl.ops.host import HOST_LANES
from minidl.ops.linear import linear_dgrad, linear_forward, linear_wgrad, tile_size


@dataclass(frozen=True, eq=False)
class Linear(Layer):
    """y[n, f] = sum_i x[n, i] w[f, i] + b[f]; x (N, inputs), w (features, inputs), b (features).

    dx = dy w, dw = dy^T x, db = sum_n dy[n].
    """

    order = "new"
    features: int
    bias: bool = True
    initial: Initial = field(default=lecun_uniform, repr=False)
    initial_bias: Initial | None = field(default=None, repr=False)
    """None: U(-1/sqrt(inputs), 1/sqrt(inputs)), PyTorch's default."""

    def __post_init__(self) -> None:
        require_bool(self, self.bias)

    def output_shape(self, *inputs: Shape) -> Shape:
        require_rank(2, inputs[0], "(batch, features)")
        if self.features < 1:
            raise ShapeError(f"features must be at least 1, got {self.features}")
        return inputs[0][0], self.features

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        w = site.parameter("weight", (self.features, x.shape[1]), self.initial, along=(1, x))
        flops = 2 * y.size * x.shape[1]
        b = self._bias(site, x.shape[1])
        dy, how = site.gradient(y), _how(site, x, y)
        forward, dgrad, wgrad = (site.device_scratch(n) for n in how.scratch)
        contract: dict[str, Any] = {"attributes": how.attributes, "flops": flops}
        fused: dict[str, Any] = {**contract, "finishes": site.lowering.device == "cuda"}
        site.forward(linear_forward, writes=[y, *forward], reads=[x, w, *b], **fused)
        site.dgrad(linear_dgrad, writes=[site.gradient(x), *dgrad], reads=[dy, w], **fused)
        tile = site.host_scratch(HOST_LANES * tile_size(w.shape))
        site.wgrad(
            linear_wgrad,
            writes=[site.gradient(w), *tile, *wgrad],
            reads=[dy, x],
            tiled=0,
            **contract,
        )
        for bias in b:
            add_bias_wgrad(site, bias, y)
        return y

    def _bias(self, site: Site, inputs: int) -> tuple[Tensor, ...]:
        if not self.bias:
            return ()
        initial = self.initial_bias or uniform(1 / math.sqrt(inputs))
        return (site.parameter("bias", (self.features,), initial),)


@dataclass(frozen=True)
class _How:
    """What a device has to know of the three products."""

    attributes: dict[str, Any] = field(default_factory=dict)
    scratch: tuple[int, int, int] = (0, 0, 0)


def _how(site: Site, x: Tensor, y: Tensor) -> _How:
    """On the CPU device the shapes say all."""
    low = site.lowering
    if low.device != "cuda":
        return _How()
    card = card_of(low.card)
    products = linear_products(low.precision, x, y, low.scratch_limit, low.tuning, card)
    return _How({"products": products}, products.scratch)
