"""Batch normalization of NHWC images, channel by channel."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from minidl.ir import Shape, ShapeError, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.readers import SHARE, real
from minidl.layers.base import Layer, require_rank
from minidl.layers.initial import constant
from minidl.ops.batchnorm2d import (
    batchnorm2d_dgrad,
    batchnorm2d_inference,
    batchnorm2d_normalize,
    batchnorm2d_statistics,
    batchnorm2d_wgrad,
)


@called(
    "write BatchNorm2d(), its channels are the input's; eps= and momentum= by name",
    {"eps": real(0), "momentum": SHARE},
    num_features="",
    epsilon="eps",
)
@dataclass(frozen=True, eq=False)
class BatchNorm2d(Layer):
    """y = (x - mean) / sqrt(var + eps) * weight + bias for each channel; x (N,H,W,C).

    Training: mean and (biased) variance over the M = N H W pixels of the batch; running_mean and
    running_var move by `momentum` towards the mean and the unbiased variance. With
    z = (x - mean) / sqrt(var + eps): dbias = sum dy, dweight = sum dy z,
    dx = weight / sqrt(var + eps) (dy - dbias / M - z dweight / M).
    Inference: the running statistics take the place of the batch's.

    Ioffe, Szegedy 2015. The variance is of two passes over each part of the batch, and parts are
    merged as in Chan, Golub, LeVeque 1979: a large mean does not cancel it.
    """

    couples_samples = True
    _: KW_ONLY
    eps: float = 1e-5
    momentum: float = 0.1

    def output_shape(self, *inputs: Shape) -> Shape:
        require_rank(4, inputs[0], "(batch, height, width, channels)")
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        channels = x.shape[3:]
        gamma = site.parameter("weight", channels, constant(1.0))
        beta = site.parameter("bias", channels, constant(0.0))
        mean = site.state("running_mean", channels)
        var = site.state("running_var", channels, constant(1.0))
        batches = site.state("num_batches_tracked", (), dtype="int64")
        if site.lowering.training:
            self._train(site, x, y, gamma, beta, (mean, var, batches))
        else:
            site.forward(
                batchnorm2d_inference,
                writes=[y],
                reads=[x, gamma, beta, mean, var],
                in_place=((0, 0),),
                attributes={"eps": self.eps},
                flops=4 * y.size,
            )
        return y

    def _train(
        self, site: Site, x: Tensor, y: Tensor, gamma: Tensor, beta: Tensor, running: Running
    ) -> None:
        n, h, w, c = x.shape
        if n * h * w < 2:
            raise ShapeError(
                "needs at least 2 values per channel (batch x height x width) to train"
            )
        mean, inv_std = site.mask((c,), "mean"), site.mask((c,), "inv_std")
        dy, dgamma, dbeta = site.gradient(y), site.gradient(gamma), site.gradient(beta)
        site.forward(
            batchnorm2d_statistics,
            writes=[mean, inv_std, *running],
            reads=[x, *running],
            attributes={"eps": self.eps, "momentum": self.momentum},
            flops=4 * y.size,
            strided=True,
        )
        site.forward(
            batchnorm2d_normalize,
            writes=[y],
            reads=[x, mean, inv_std, gamma, beta],
            in_place=((0, 0),),
            flops=4 * y.size,
            strided=True,
            cheap=True,
        )
        site.wgrad(
            batchnorm2d_wgrad,
            writes=[dgamma, dbeta],
            reads=[dy, x, mean, inv_std],
            flops=4 * y.size,
            strided=True,
        )
        site.dgrad(
            batchnorm2d_dgrad,
            writes=[site.gradient(x)],
            reads=[dy, x, gamma, mean, inv_std, dgamma, dbeta],
            in_place=((0, 0), (0, 1)),
            flops=5 * y.size,
            strided=True,
        )


Running = tuple[Tensor, Tensor, Tensor]
"""running_mean, running_var, num_batches_tracked."""
