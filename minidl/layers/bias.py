"""The gradient of a bias that is added to every pixel or row."""

from __future__ import annotations

from minidl.ir import Site, Tensor
from minidl.ops.reduction import bias_wgrad


def add_bias_wgrad(site: Site, bias: Tensor, y: Tensor) -> None:
    """State at `site` the gradient of a bias added to every pixel or row of `y`."""
    db, dy = site.gradient(bias), site.gradient(y)
    site.wgrad(bias_wgrad, writes=[db], reads=[dy], flops=y.size, strided=True)
