"""About: what a trained network is and how it sees pictures, kept beside its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import minidl as dl
from minidl.data import evaluation, normalised
from minidl.data.decode import opened, seen
from minidl.ir import ArgumentError, Array

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""torchvision's constants for pixels in [0, 255]."""
GREY = (0.299, 0.587, 0.114)
"""Of red, green and blue: ITU-R BT.601, as Pillow has it."""

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class About:
    """Enough to build the network again and to show it a picture."""

    model: str
    classes: int
    image: tuple[int, int, int]
    """Height, width, channels."""
    reads: str = "uint8"
    """The input's dtype: uint8 is normalised by the network's first layer, float32 before it."""
    mean: Numbers | None = None
    std: Numbers | None = None
    """For pixels in [0, 255], one for all channels or one each; None where nobody knows."""
    names: tuple[str, ...] = ()
    """Of the classes, in order; empty where nobody knows."""

    def __post_init__(self) -> None:
        if self.names and len(self.names) != self.classes:
            raise ArgumentError(f"{len(self.names)} class names do not fit {self.classes} classes")

    def network(self) -> dl.Network:
        build: Callable[..., dl.Network] = dl.models.MODELS[self.model]
        net = build(self.classes, self.image)
        if self.reads != "uint8":
            return net
        return dl.from_bytes(net, self.mean or 0.0, self.std or 1.0)

    def see(self, raw: bytes, name: str) -> Array:
        """An encoded picture as the network reads it, (H, W, C); BrokenPictureError names it."""
        if self.mean is None or self.std is None:
            raise ArgumentError(
                "this network was trained on arrays of floats, and nobody knows how a picture "
                "becomes one: say it with --mean and --std"
            )
        image = opened(raw, name)
        view = evaluation(self.image[0]).view(image.height, image.width, ())
        pixels = seen(image, view, name)
        if self.image[2] == 1:
            grey = np.rint(pixels @ np.array(GREY))[..., np.newaxis]
            pixels = grey.astype(np.uint8)
        return pixels if self.reads == "uint8" else normalised(pixels, self.mean, self.std)

    def name_of(self, label: int) -> str:
        return self.names[label] if self.names else str(label)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> About:
        """What `as_dict` gave, JSON's lists for tuples; TypeError or ValueError where not."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        made = cls(**fields)
        if made.model not in dl.models.MODELS or len(made.image) != 3:
            raise ValueError(f"no model {made.model!r} for pictures {made.image}")
        return made


def usual_constants(channels: int) -> tuple[Numbers, Numbers]:
    """ImageNet's mean and standard deviation; their means where pictures are not coloured."""
    if channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    return (round(sum(IMAGENET_MEAN) / 3, 3),), (round(sum(IMAGENET_STD) / 3, 3),)
