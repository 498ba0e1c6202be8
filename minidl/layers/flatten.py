"""Flatten: images as vectors, the same bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from minidl.ir import Shape, Site, Tensor
from minidl.ir.calls import called
from minidl.layers.base import Layer, require_rank


@called("write Flatten(): all but the batch", start_dim="", end_dim="")
@dataclass(frozen=True, eq=False)
class Flatten(Layer):
    """(N, H, W, C) -> (N, H W C), a view.

    PyTorch's order is (C, H, W): the weights of what reads the features are converted, wherever
    it stands; see `minidl.ir.features`.
    """

    order = "same"

    def output_shape(self, *inputs: Shape) -> Shape:
        require_rank(4, inputs[0], "(batch, height, width, channels)")
        return inputs[0][0], math.prod(inputs[0][1:])

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return site.view(x, self.output_shape(x.shape))
