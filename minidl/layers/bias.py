"""The gradient of a bias that is added to every pixel or row."""

from __future__ import annotations

from minidl.ir import Site, Tensor
from minidl.ops.cuda.reduce import partial_floats
from minidl.ops.reduction import PARTS, bias_wgrad


def add_bias_wgrad(site: Site, bias: Tensor, y: Tensor, inlines: int | None = None) -> None:
    """State at `site` the gradient of a bias added to every pixel or row of `y`."""
    parts = site.device_scratch(partial_floats(y.size // bias.size, bias.size))
    site.wgrad(
        bias_wgrad,
        writes=[site.gradient(bias), *site.host_scratch(PARTS * bias.size), *parts],
        reads=[site.gradient(y)],
        flops=y.size,
        strided=True,
        inlines=inlines,
    )
