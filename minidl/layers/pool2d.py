"""Pooling over NHWC images: maximum, average, and average over bins (adaptive)."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from minidl.ir import Shape, ShapeError, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.op import Commutes
from minidl.ir.readers import pair
from minidl.layers.base import Layer, require_rank
from minidl.ops.pool2d import (
    adaptive_avgpool2d_dgrad,
    adaptive_avgpool2d_forward,
    avgpool2d_dgrad,
    avgpool2d_forward,
    maxpool2d_dgrad,
    maxpool2d_forward,
)
from minidl.ops.window import Pair, Window, both

POOLS = {"kernel_size": "kernel", "pool_size": "kernel", "strides": "stride"}
"""Other frameworks' words."""

PADDED = {"padding": pair(0)}

IMAGES = "(batch, height, width, channels)"


@dataclass(frozen=True, eq=False)
class _Pool2d(Layer):
    """What the pools of sliding windows share; `stride=None` stands for `kernel`."""

    kernel: int | Pair
    stride: int | Pair | None = None
    padding: int | Pair = 0
    window: Window = field(init=False, repr=False)

    def _set_window(self, dilation: int | Pair, ceil_mode: bool) -> None:
        kernel, padding, steps = both(self.kernel), both(self.padding), both(dilation)
        stride = kernel if self.stride is None else both(self.stride)
        if any(p > k // 2 for p, k in zip(padding, kernel, strict=True)):
            raise ShapeError(f"{self!r}: padding must be at most half of the kernel")
        object.__setattr__(self, "window", Window(kernel, stride, padding, steps, ceil_mode))

    def output_shape(self, *inputs: Shape) -> Shape:
        require_rank(4, inputs[0], IMAGES)
        n, h, w, c = inputs[0]
        return (n, *self.window.output_size(h, w), c)


@called("write MaxPool2d(3, 2, padding=1, ceil_mode=True)", PADDED, **POOLS, return_indices="")
@dataclass(frozen=True, eq=False)
class MaxPool2d(_Pool2d):
    """y[n,p,q,c] = max over taps (r, s) of x[n, p u - h + r d, q u - h + s d, c]

    with stride u, padding h, dilation d; x (N,H,W,C). Padding counts as -infinity, NaN as more
    than every number. Forward keeps argmax, shaped as y: the index r S + s of the first tap, row
    by row, that holds the maximum, of NaN the last (PyTorch), as uint8 (uint16 for more than 256
    taps). dx[i] is the sum of dy over the windows that took element i, tap by tap; backward needs
    neither x nor y. A dilated window that steps over the image is -infinity and took none.
    """

    dilation: int | Pair = 1
    _: KW_ONLY
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        self._set_window(self.dilation, self.ceil_mode)
        if math.prod(self.window.kernel) > 2**16:
            raise ShapeError(f"{self!r}: a window may have at most {2**16} elements")

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        taps = math.prod(self.window.kernel)
        argmax = site.mask(y.shape, "argmax", "uint8" if taps <= 256 else "uint16")
        bits = next((bits for bits in (2, 4) if taps <= 2**bits), None)
        packs = (argmax, bits) if bits else None
        blocks = self._blocks(x.shape, y.shape) if bits else None
        # a ReLU behind a window beside the image would make 0 of -infinity
        commutes: Commutes = "" if self.window.misses(*x.shape[1:3]) else "selection"
        site.forward(
            maxpool2d_forward,
            writes=[y, argmax],
            reads=[x],
            attributes={"window": self.window},
            flops=y.size * taps,
            commutes=commutes,
            packs=packs,
            strided=True,
            blocks=blocks,
        )
        site.dgrad(
            maxpool2d_dgrad,
            writes=[site.gradient(x)],
            reads=[site.gradient(y), argmax],
            attributes={"window": self.window},
            flops=y.size,
            commutes=commutes,
            packs=packs,
            strided=True,
            blocks=blocks,
        )
        return y

    def _blocks(self, x: Shape, y: Shape) -> Pair | None:
        """The windows, where they lie side by side inside the image; as large as a power of 2."""
        window, size = self.window, math.prod(self.window.kernel)
        apart = window.kernel == window.stride and window.padding == (0, 0)
        inside = all(n * k <= m for n, k, m in zip(y[1:3], window.kernel, x[1:3], strict=True))
        fits = apart and inside and window.dilation == (1, 1) and size in (2, 4, 8, 16)
        return window.kernel if fits else None


@called("write AvgPool2d(3, 2, padding=1, ceil_mode=True)", PADDED, **POOLS)
@dataclass(frozen=True, eq=False)
class AvgPool2d(_Pool2d):
    """y[n,p,q,c] = sum of x over the window of (p, q) / the window's size; x (N,H,W,C).

    The size counts padding if `count_include_pad`, but never what a window of `ceil_mode` covers
    beyond the padding: PyTorch's divisors. dx[i] = sum of dy / size over the windows around i.
    """

    _: KW_ONLY
    ceil_mode: bool = False
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        self._set_window(1, self.ceil_mode)

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        attributes = {"window": self.window, "count_include_pad": self.count_include_pad}
        flops = y.size * math.prod(self.window.kernel)
        how: dict[str, Any] = {"attributes": attributes, "flops": flops, "strided": True}
        site.forward(avgpool2d_forward, writes=[y], reads=[x], **how)
        site.dgrad(avgpool2d_dgrad, writes=[site.gradient(x)], reads=[site.gradient(y)], **how)
        return y


@called("write AdaptiveAvgPool2d(1), the height and width that come out")
@dataclass(frozen=True, eq=False)
class AdaptiveAvgPool2d(Layer):
    """y[n,p,q,c] = mean of x over the bin of (p, q); x (N,H,W,C), y (N, *output_size, C).

    Bin p of OH covers rows [floor(p H / OH), ceil((p + 1) H / OH)), columns likewise. An input
    that has the output's size is returned as it is: no op.
    """

    output_size: int | Pair

    def output_shape(self, *inputs: Shape) -> Shape:
        require_rank(4, inputs[0], IMAGES)
        return (inputs[0][0], *both(self.output_size), inputs[0][3])

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        shape = self.output_shape(x.shape)
        if shape == x.shape:
            return x
        y = site.activation(shape)
        flops = max(x.size, y.size)
        site.forward(adaptive_avgpool2d_forward, writes=[y], reads=[x], flops=flops)
        site.dgrad(
            adaptive_avgpool2d_dgrad,
            writes=[site.gradient(x)],
            reads=[site.gradient(y)],
            flops=flops,
        )
        return y
