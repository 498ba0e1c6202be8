"""Normalization of images by constants: the first layer of a network that reads bytes."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.ir import ArgumentError, Shape, ShapeError, Site, Tensor
from minidl.ir.calls import called
from minidl.ir.readers import MEAN, STD, Reader
from minidl.layers.base import Layer
from minidl.layers.network import Input, Network, as_network
from minidl.ops.normalize import Constants, normalize_dgrad, normalize_forward

CONSTANTS: dict[str, Reader] = {"mean": MEAN, "std": STD}


@called("write Normalize(mean, std), in the units of the pixels", CONSTANTS, inplace="")
@dataclass(frozen=True, eq=False)
class Normalize(Layer):
    """y = (x - mean) / std channel by channel; x (..., C) of any dtype, y in the step's.

    With `dl.Input((224, 224, 3), dtype="uint8")` in front the step's images are bytes: in the
    arena y is made a second time where backward needs it, so that what is kept is a quarter.
    torchvision's constants for pixels in [0, 255] are 255 times those of its Normalize.
    """

    order = "same"
    mean: Constants = 0.0
    std: Constants = 1.0

    def output_shape(self, *inputs: Shape) -> Shape:
        channels = inputs[0][-1]
        for name, constants in (("mean", self.mean), ("std", self.std)):
            if isinstance(constants, tuple) and len(constants) != channels:
                raise ShapeError(
                    f"{name} has {len(constants)} numbers, and the input {channels} channels",
                    f"give one for all, or {channels}",
                )
        return inputs[0]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(self.output_shape(x.shape))
        attributes = {"mean": self.mean, "std": self.std}
        site.forward(
            normalize_forward,
            writes=[y],
            reads=[x],
            attributes=attributes,
            in_place=((0, 0),) if x.dtype == y.dtype else (),
            flops=2 * y.size,
            strided=True,
            cheap=True,
        )
        if x.dtype == y.dtype:
            site.dgrad(
                normalize_dgrad,
                writes=[site.gradient(x)],
                reads=[site.gradient(y)],
                attributes=attributes,
                in_place=((0, 0),),
                flops=y.size,
                strided=True,
            )
        return y


@called(readers=CONSTANTS)
def from_bytes(network: Layer, mean: Constants, std: Constants) -> Network:
    """The same network for images of bytes (N, H, W, C) uint8, which it normalises first; names
    of parameters are the same. `mean` and `std` are those of pixels in [0, 255]."""
    network = as_network(network)
    if len(network.inputs) != 1:
        raise ArgumentError(f"{network.brief()} has {len(network.inputs)} inputs: one is needed")
    x = Input(network.image, dtype="uint8")
    y = network(Normalize(mean, std)(x, name="normalize"), name="")
    return Network(x, y, name=network.name)
