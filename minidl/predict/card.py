"""The card of a trained network: what it is and how it sees images, kept beside its weights."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import minidl as dl
from minidl.data import evaluation, normalised
from minidl.data.decode import opened, seen
from minidl.data.source import MOST_CLASSES
from minidl.data.split import PERMUTATION, HeldOut
from minidl.files.fields import take
from minidl.files.words import shown
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.readers import COUNT
from minidl.ops.normalize import Constants

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""torchvision's constants for pixels in [0, 255]."""
PUBLISHED: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "googlenet": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
}
"""By the model, where its published weights were trained with others: torchvision's
`transform_input`."""
GREY = (0.299, 0.587, 0.114)
"""Of red, green and blue: ITU-R BT.601, as Pillow has it."""

SAY_CONSTANTS = "say it with mean= and std="
"""Hint where nobody knows how an image becomes what the network reads."""

LARGEST_SIDE = 2**16
"""Pixels of a side, and channels."""

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class ModelCard:
    """Enough to build the network again and to show it an image.

    ArgumentError where there is no such model, or the names are not one a class.
    """

    model: str
    """Of `minidl.models.MODELS`."""
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
    held_out: str = ""
    """How the images to test on were held out, `str` of a `minidl.data.HeldOut`; empty where the
    data has a split of its own."""

    def __post_init__(self) -> None:
        if self.names and len(self.names) != self.classes:
            raise ArgumentError(f"{len(self.names)} class names do not fit {self.classes} classes")
        if self.model not in dl.models.MODELS or len(self.image) != 3:
            known = ", ".join(sorted(dl.models.MODELS))
            raise ArgumentError(
                f"no model {self.model!r} for images {self.image}",
                f"choose from {known}, and image=(height, width, channels)",
            )
        if wrong := list(self._wrong()):
            raise ArgumentError(f"no network can have {'; '.join(wrong)}")

    def _wrong(self) -> Iterator[str]:
        """Values that no network is made with."""
        if not 1 <= self.classes <= MOST_CLASSES:
            yield f"{self.classes:,} classes"
        if not all(1 <= side <= LARGEST_SIDE for side in self.image):
            yield f"images of {self.image}"
        if self.reads not in ("uint8", "float32"):
            yield f"an input of {shown(self.reads)}"
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and len(numbers) not in (1, self.image[2]):
                yield (
                    f"{name} of {len(numbers)} numbers for images of {self.image[2]} channels, "
                    "which takes one for all or one each"
                )
            if numbers is not None and not all(map(math.isfinite, numbers)):
                yield f"{name} {numbers}"
        try:
            self.holding(0)
        except ArgumentError as error:
            yield error.message
        if self.std is not None and not all(number > 0 for number in self.std):
            yield f"std {self.std}: must be above 0"

    def network(self) -> dl.Network:
        """The network, its weights not trained."""
        build: Callable[..., dl.Network] = dl.models.MODELS[self.model]
        net = build(self.classes, self.image)
        if self.reads != "uint8":
            return net
        return dl.from_bytes(net, _for_all(self.mean, 0.0), _for_all(self.std, 1.0))

    def see(self, raw: bytes, name: str) -> Array:
        """A JPEG or PNG as the network reads it, (H, W, C) of `reads`: resized, cut from the
        middle, grey where the network is; BrokenImageError names it."""
        if self.mean is None or self.std is None:
            raise ArgumentError(
                "this network was trained on arrays of floats, and nobody knows how an image "
                "becomes one",
                SAY_CONSTANTS,
            )
        image = opened(raw, name)
        view = evaluation(self.image[0]).view(image.height, image.width, ())
        pixels = seen(image, view, name)
        if self.image[2] == 1:
            grey = np.rint(pixels @ np.array(GREY))[..., np.newaxis]
            pixels = grey.astype(np.uint8)
        return pixels if self.reads == "uint8" else normalised(pixels, self.mean, self.std)

    def holding(self, seed: int) -> HeldOut:
        """How images are held out where there is one split only; `seed` where the card has none."""
        return HeldOut.of(self.held_out, seed) if self.held_out else HeldOut(seed)

    def name_of(self, label: int) -> str:
        """What a class is called: its name, or its number where it has none."""
        return self.names[label] if self.names else str(label)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> ModelCard:
        """What `as_dict` gave, as JSON has it; ArgumentError where it is something else.

        A card of 0.1.0 does not say how images were held out: by a permutation.
        """
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}
        plain.setdefault("held_out", PERMUTATION)
        card: ModelCard = take(cls, plain, "its card")
        return card


@called(readers={"channels": COUNT})
def usual_constants(channels: int) -> tuple[Numbers, Numbers]:
    """ImageNet's mean and standard deviation; their means where images are not coloured."""
    if channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    return (round(sum(IMAGENET_MEAN) / 3, 3),), (round(sum(IMAGENET_STD) / 3, 3),)


def published_constants(model: str, channels: int) -> tuple[Numbers, Numbers]:
    """Those of the weights that torchvision publishes for a model, ImageNet's but for some."""
    own = PUBLISHED.get(model) if channels == 3 else None
    return usual_constants(channels) if own is None else own


@called()
def model_image(model: str) -> tuple[int, int, int]:
    """Height, width and channels that a model has where nothing else is asked for."""
    height, width, channels = _parameter(model, "image")
    return height, width, channels


@called()
def model_classes(model: str) -> int:
    """Outputs that a model has where nothing else is asked for."""
    return int(_parameter(model, "classes"))


def _parameter(model: str, name: str) -> Any:
    if model not in dl.models.MODELS:
        raise ArgumentError(
            f"no model {model!r}", f"choose from {', '.join(sorted(dl.models.MODELS))}"
        )
    return inspect.signature(dl.models.MODELS[model]).parameters[name].default


def _for_all(numbers: Numbers | None, usual: float) -> Constants:
    """Constants of the first layer: one number is meant for every channel."""
    if numbers is None:
        return usual
    return numbers[0] if len(numbers) == 1 else numbers


def require_of_bytes(mean: Numbers | None, std: Numbers | None) -> None:
    """ArgumentError for constants of pixels in [0, 1], as torchvision has them."""
    small = std if std is not None else mean
    if small is None or not 0 < max(small) < 1:
        return
    known = [(name, n) for name, n in (("mean", mean), ("std", std)) if n is not None]
    said = " and ".join(f"{name} {_listed(numbers)}" for name, numbers in known)
    times = [(name, tuple(255 * n for n in numbers)) for name, numbers in known]
    raise ArgumentError(
        f"{said}: of pixels in [0, 1], and these are in [0, 255]",
        f"multiply by 255: {' and '.join(f'{name} {_listed(n)}' for name, n in times)}",
    )


def _listed(numbers: Numbers) -> str:
    return ",".join(f"{number:g}" for number in numbers)
