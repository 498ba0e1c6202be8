"""Conv2d over NHWC images with KRSC filters, as matrix products of tiles."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from minidl.ir import ArgumentError, Array, Shape, ShapeError, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.readers import choice, either, optional, pair, whole
from minidl.layers.base import Layer, require_rank
from minidl.layers.bias import add_bias_wgrad
from minidl.layers.initial import INITIAL, Initial, lecun_uniform, uniform
from minidl.ops.conv2d import conv2d_dgrad, conv2d_forward, conv2d_wgrad
from minidl.ops.window import Pair, Window, both


@called(
    "write the output's channels and the kernel, the input's are known: Conv2d(64, 3, stride=2)",
    {
        "features": whole(1, size=True),
        "groups": whole(1, size=True),
        "padding": either(pair(0), choice(("same", "valid"))),
        "initial": INITIAL,
        "initial_bias": optional(INITIAL),
    },
    in_channels="",
    out_channels="features",
    filters="features",
    kernel_size="kernel",
    strides="stride",
    dilation_rate="dilation",
)
@dataclass(frozen=True, eq=False)
class Conv2d(Layer):
    """y[n,p,q,k] = b[k] + sum_{r,s,c} x[n, p u - h + r d, q u - h + s d, c] w[k,r,s,c]

    with stride u, padding h, dilation d; x (N,H,W,C), w (K,R,S,C/groups), b (K). Group g maps
    channels [g C/groups, ...) to filters [g K/groups, ...).

    The NumPy implementation multiplies tiles of patches gathered into scratch (im2col by tiles:
    Chellapilla, Puri, Simard 2006); no more than `scratch_limit` bytes of them exist at once.
    """

    features: int
    kernel: int | Pair
    _: KW_ONLY
    stride: int | Pair = 1
    padding: int | Pair | Literal["same", "valid"] = 0
    """"same": the output has the input's size, at stride 1; "valid": 0."""
    dilation: int | Pair = 1
    groups: int = 1
    bias: bool = True
    initial: Initial = field(default=lecun_uniform, repr=False)
    initial_bias: Initial | None = field(default=None, repr=False)
    """None: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default."""
    window: Window = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kernel, stride, dilation = map(both, (self.kernel, self.stride, self.dilation))
        if isinstance(self.padding, str):
            object.__setattr__(self, "padding", self._around(kernel, stride, dilation))
        window = Window(kernel, stride, both(self.padding), dilation)
        object.__setattr__(self, "window", window)

    def _around(self, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
        """The padding that a word says."""
        if self.padding == "valid":
            return 0, 0
        extents = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if stride != (1, 1) or any(extent % 2 for extent in extents):
            raise ArgumentError(
                f"Conv2d: padding='same' is for stride 1 and a window of an odd size, got "
                f"{kernel=}, {stride=}, {dilation=}",
                "give the padding in pixels",
            )
        return extents[0] // 2, extents[1] // 2

    def output_shape(self, *inputs: Shape) -> Shape:
        require_rank(4, inputs[0], "(batch, height, width, channels)")
        n, h, w, c = inputs[0]
        if c % self.groups or self.features % self.groups:
            raise ShapeError(
                f"groups={self.groups} must divide both the {c} input channels "
                f"and the {self.features} features"
            )
        return (n, *self.window.output_size(h, w), self.features)

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        shape = (self.features, *self.window.kernel, x.shape[3] // self.groups)
        w = site.parameter("weight", shape, self.initial, to_torch=to_kcrs, from_torch=to_krsc)
        b = self._bias(site, math.prod(shape[1:]))
        flops = 2 * y.size * math.prod(shape[1:])
        how: dict[str, Any] = {
            "attributes": {"window": self.window, "groups": self.groups},
            "flops": flops,
            "strided": True,
        }
        dy, dx, dw = (site.gradient(t) for t in (y, x, w))
        site.forward(conv2d_forward, writes=[y], reads=[x, w, *b], **how)
        site.dgrad(conv2d_dgrad, writes=[dx], reads=[dy, w], **how)
        site.wgrad(conv2d_wgrad, writes=[dw], reads=[dy, x], **how)
        for bias in b:
            add_bias_wgrad(site, bias, y)
        return y

    def _bias(self, site: Site, fan_in: int) -> tuple[Tensor, ...]:
        if not self.bias:
            return ()
        initial = self.initial_bias or uniform(1 / math.sqrt(fan_in))
        return (site.parameter("bias", (self.features,), initial),)


def to_kcrs(w: Array) -> Array:
    return w.transpose(0, 3, 1, 2)


def to_krsc(w: Array) -> Array:
    return w.transpose(0, 2, 3, 1)
