"""What is cut out of an image: pure geometry, from the image's size and random words.

Decoding does the work (`minidl/data/decode.py`), so that it can skip what nobody will see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.readers import COUNT, MEAN, STD, Reader, real, several, whole

Constants = float | tuple[float, ...]
"""One for all channels, or one each."""

SIDE: dict[str, Reader] = {"side": COUNT}
RISING = several(real(0, above=True), 2)

SMALL = 64
"""Up to this size images are shifted for training, above they are cut and resized."""


class View(NamedTuple):
    """A region, resized to `size`, then shifted, then flipped."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels of the image, inside of it; half-open."""
    size: tuple[int, int]
    """Height and width of what comes out."""
    shift: tuple[int, int] = (0, 0)
    """Rows down and columns to the right; zeros come in."""
    flip: bool = False
    """Left and right change places."""
    reduce: bool = False
    """A JPEG may be decoded at 1/2, 1/4 or 1/8 where the region is that much larger than size."""


class Transform(Protocol):
    """Frozen, so that it is pickled as it is."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what comes out."""

    @property
    def words(self) -> int:
        """How many random words `view` needs."""

    def view(self, height: int, width: int, words: Sequence[int]) -> View:
        """Where to look in an image; words are uniform in [0, 2^32)."""


@called(
    "write RandomResizedCrop(224, (0.08, 1.0)), flip= by name",
    {**SIDE, "scale": several(real(0, 1, above=True), 2), "ratio": RISING},
    size="side",
    interpolation="",
)
@dataclass(frozen=True)
class RandomResizedCrop:
    """A random region, bilinearly resized to a square, and a flip in half of the cases.

    Area and aspect ratio are uniform, the latter in its logarithm; ten tries, then the largest
    centred region with a ratio that is allowed, as in torchvision. Szegedy et al., *Going deeper
    with convolutions*, CVPR 2015.
    """

    side: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    _: KW_ONLY
    flip: bool = True
    reduce: bool = True
    tries = 10

    def __post_init__(self) -> None:
        if self.scale[0] > self.scale[1] or self.ratio[0] > self.ratio[1]:
            raise ArgumentError(f"{self!r}: scale and ratio must rise")

    @property
    def size(self) -> tuple[int, int]:
        return self.side, self.side

    @property
    def words(self) -> int:
        return 4 + 4 * self.tries

    def view(self, height: int, width: int, words: Sequence[int]) -> View:
        flip = self.flip and bool(words[0] & 1)
        top, left, tall, wide = self._region(height, width, words[4:])
        return View((left, top, left + wide, top + tall), self.size, (0, 0), flip, self.reduce)

    def _region(self, height: int, width: int, words: Sequence[int]) -> tuple[int, int, int, int]:
        low, high = (math.log(ratio) for ratio in self.ratio)
        for i in range(0, 4 * self.tries, 4):
            area = height * width * _between(words[i], *self.scale)
            ratio = math.exp(_between(words[i + 1], low, high))
            wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < tall <= height:
                top = _below(words[i + 2], height - tall + 1)
                return top, _below(words[i + 3], width - wide + 1), tall, wide
        wide = min(width, max(1, round(height * self.ratio[1])))
        tall = min(height, max(1, round(width / self.ratio[0])))
        return (height - tall) // 2, (width - wide) // 2, tall, wide


@called(
    "write PadCrop(32, 4), flip= by name", {**SIDE, "pad": whole(0)}, size="side", padding="pad"
)
@dataclass(frozen=True)
class PadCrop:
    """An image of `side` squared, shifted by up to `pad` either way, and flipped in half of the
    cases: what small images such as CIFAR's get. Others are resized before, cut to a square."""

    side: int
    pad: int = 4
    _: KW_ONLY
    flip: bool = True
    words = 4

    def __post_init__(self) -> None:
        if self.pad >= self.side:
            raise ArgumentError(f"{self!r}: pad must be in [0, {self.side})")

    @property
    def size(self) -> tuple[int, int]:
        return self.side, self.side

    def view(self, height: int, width: int, words: Sequence[int]) -> View:
        down, right = (_below(word, 2 * self.pad + 1) - self.pad for word in words[1:3])
        flip = self.flip and bool(words[0] & 1)
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return View(box, self.size, (down, right), flip)


@called("write CentreCrop(224, shorter=256)", {**SIDE, "shorter": whole(0)}, size="side")
@dataclass(frozen=True)
class CentreCrop:
    """The shorter side resized to `shorter` (side * 256 / 224 if it is 0), the centre cut out.

    Nothing is random. The same pixels as torchvision's Resize and CenterCrop, rounded as there,
    unless `reduce` is set.
    """

    side: int
    _: KW_ONLY
    shorter: int = 0
    reduce: bool = False
    words = 0

    def __post_init__(self) -> None:
        if self.shorter and self.shorter < self.side:
            raise ArgumentError(f"{self!r}: shorter must be 0 or at least side")

    @property
    def size(self) -> tuple[int, int]:
        return self.side, self.side

    def view(self, height: int, width: int, words: Sequence[int]) -> View:
        shorter = self.shorter or self.side * 256 // 224
        top, bottom = self._edges(height, shorter * height // min(height, width))
        left, right = self._edges(width, shorter * width // min(height, width))
        return View((left, top, right, bottom), self.size, reduce=self.reduce)

    def _edges(self, old: int, new: int) -> tuple[float, float]:
        """Of the centre of a side that is resized from old to new pixels, in old pixels."""
        start = round((new - self.side) / 2)
        return start * old / new, min(old, (start + self.side) * old / new)


@called("write training(224, flip=False)", SIDE, size="side")
def training(side: int, *, flip: bool = True) -> Transform:
    """What is usual for training: PadCrop up to 64 pixels, RandomResizedCrop above. flip: half of
    the images are mirrored, which writing does not bear."""
    return PadCrop(side, flip=flip) if side <= SMALL else RandomResizedCrop(side, flip=flip)


@called("write evaluation(224)", SIDE, size="side")
def evaluation(side: int) -> Transform:
    """What is usual for testing: the whole image up to 64 pixels, CentreCrop above."""
    return CentreCrop(side, shorter=side if side <= SMALL else 0)


@called(readers={"mean": MEAN, "std": STD})
def normalised(images: Array, mean: Constants, std: Constants) -> NDArray[np.float32]:
    """(x - mean) / std as float32, channel by channel: what the layer Normalize does, for
    networks that read floats. Constants are in the pixels' units, [0, 255]."""
    scale = np.asarray(1 / np.asarray(std), np.float32)
    out = np.subtract(images, np.asarray(mean, np.float32), dtype=np.float32)
    out *= scale
    return out


def _between(word: int, low: float, high: float) -> float:
    return low + (high - low) * word / 2**32


def _below(word: int, end: int) -> int:
    """Uniform in [0, end)."""
    return word * end >> 32
