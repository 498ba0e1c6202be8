"""From an encoded image to pixels: the one place that knows Pillow.

Only what a view needs is done: a JPEG whose region is at least twice as large as what comes out can
be decoded at a half, a quarter or an eighth, and only the region is resized.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from minidl.data.errors import BrokenImageError
from minidl.data.transforms import View
from minidl.files.exif import orientation
from minidl.files.png_rows import has_all_rows
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.readers import COUNT

PIXELS = 89_478_485
"""The most pixels of one image: a gigabyte when decoded to RGB with room to work. Pillow warns
there; here it is an error, since a training run does not read warnings."""

ANYWAY, A_BYTE = 2**24, 32
"""As many pixels as any file may have, and as many as each byte of a larger image must stand for at
most: what is photographed or drawn takes more than a quarter of a bit."""

FORMATS = ("JPEG", "PNG")
SHARPEST = 8
"""The smallest share of a side that a JPEG can be decoded at is 1/8."""


class Pillow(NamedTuple):
    """What is used of the library."""

    image: Any
    bilinear: Any
    mirror: Any
    turns: tuple[Any, ...]
    """By Exif's orientation: what makes the image upright."""


@cache
def pillow() -> Pillow:
    """ArgumentError that says how to install it where it is not there."""
    try:
        from PIL import Image
    except ImportError:
        raise ArgumentError(
            "JPEG and PNG need Pillow, which is not installed", "pip install 'minidl[data]'"
        ) from None
    t = Image.Transpose
    turns = (
        *(None, None, t.FLIP_LEFT_RIGHT, t.ROTATE_180, t.FLIP_TOP_BOTTOM),
        *(t.TRANSPOSE, t.ROTATE_270, t.TRANSVERSE, t.ROTATE_90),
    )
    return Pillow(Image, Image.Resampling.BILINEAR, t.FLIP_LEFT_RIGHT, turns)


@dataclass
class Opened:
    """An image of which only the header is read; its sides are those of the upright image."""

    image: Any
    raw: bytes
    orientation: int
    """Exif's."""

    @property
    def lies(self) -> bool:
        """Whether rows are stored as columns."""
        return self.orientation > 4

    @property
    def height(self) -> int:
        return int(self.image.width if self.lies else self.image.height)

    @property
    def width(self) -> int:
        return int(self.image.height if self.lies else self.image.width)

    def upright(self) -> Any:
        """The Pillow image, decoded and turned; ValueError where rows of a PNG are missing."""
        _load(self.image, self.raw)
        turn = pillow().turns[self.orientation]
        return self.image if turn is None else self.image.transpose(turn)


@called(readers={"limit": COUNT})
def decode(raw: bytes, name: str, limit: int = PIXELS) -> Array:
    """The whole image, (H, W, 3) uint8 RGB, upright as Exif says, whatever its mode was; alpha is
    dropped.

    BrokenImageError, naming it, for what is no JPEG or PNG, is damaged, or has more than `limit`
    pixels, which is found before they are decoded.
    """
    image = opened(raw, name, limit)
    with _naming(name):
        return np.array(_rgb(image.upright()))


def opened(raw: bytes, name: str, limit: int = PIXELS) -> Opened:
    """An image of which only the header is read. Errors as `decode`."""
    library = pillow()
    with _naming(name), warnings.catch_warnings():
        warnings.simplefilter("ignore", library.image.DecompressionBombWarning)
        image = library.image.open(io.BytesIO(raw), formats=FORMATS)
    pixels, size = image.width * image.height, f"{image.width} x {image.height} pixels"
    if pixels > limit:
        raise BrokenImageError(f"{name}: {size} are more than the {limit:,} allowed")
    if pixels > max(ANYWAY, A_BYTE * len(raw)):
        raise BrokenImageError(
            f"{name}: {size} in {len(raw):,} bytes: more than {ANYWAY:,} are decoded where there "
            f"are at most {A_BYTE} a byte"
        )
    return Opened(image, raw, orientation(raw))


def seen(image: Opened, view: View, name: str) -> Array:
    """What a view shows of an opened image, (*view.size, 3) uint8."""
    with _naming(name):
        reduce = view.reduce and image.image.format == "JPEG"
        box = _reduced(image, view) if reduce else view.box
        upright = image.upright()
        # Grey images are resized as they are: their three channels would be the same.
        plain = upright if upright.mode in ("RGB", "L") else _rgb(upright)
        resized = _rgb(_resized(plain, box, view.size))
        if view.flip and view.shift == (0, 0):
            # NumPy's copy of a view that runs backwards takes five times as long.
            return np.asarray(resized.transpose(pillow().mirror))
        return finished(np.asarray(resized), view)


def seen_of_array(image: Array, view: View, name: str) -> Array:
    """What a view shows of pixels (H, W, C); resizing is for uint8 with 1 or 3 channels."""
    height, width, channels = image.shape
    if view.size == (height, width) and view.box == (0, 0, width, height):
        return finished(image, view)
    if image.dtype != np.uint8 or channels not in (1, 3):
        raise ArgumentError(
            f"{name}: only uint8 images with 1 or 3 channels can be resized, got "
            f"{image.shape} of {image.dtype} for {view.size}"
        )
    whole = pillow().image.fromarray(image[..., 0] if channels == 1 else image)
    resized = np.asarray(_resized(whole, view.box, view.size))
    return finished(resized.reshape(*view.size, channels), view)


def finished(pixels: Array, view: View) -> Array:
    """Shifted and flipped."""
    if view.shift != (0, 0):
        pixels = _shifted(pixels, *view.shift)
    return pixels[:, ::-1] if view.flip else pixels


def _shifted(pixels: Array, down: int, right: int) -> Array:
    height, width = pixels.shape[:2]
    out = np.zeros_like(pixels)
    out[max(0, down) : height + down, max(0, right) : width + right] = pixels[
        max(0, -down) : height - down, max(0, -right) : width - right
    ]
    return out


def _resized(image: Any, box: tuple[float, float, float, float], size: tuple[int, int]) -> Any:
    height, width = size
    if image.size == (width, height) and box == (0, 0, width, height):
        return image
    return image.resize((width, height), pillow().bilinear, box=box)


def _reduced(opened: Opened, view: View) -> tuple[float, float, float, float]:
    """Has a JPEG decoded at 1/2, 1/4 or 1/8 where that is still enough; the box in new pixels."""
    left, top, right, bottom = view.box
    spare = min((bottom - top) / view.size[0], (right - left) / view.size[1])
    divisor = next(d for d in (SHARPEST, 4, 2, 1) if spare >= d or d == 1)
    image = opened.image
    width, height = image.size
    if divisor == 1 or min(width, height) < divisor:
        return view.box
    image.draft(None, (width // divisor, height // divisor))
    # A pixel now stands for divisor x divisor of them; the last ones for less.
    left, top, right, bottom = (edge / divisor for edge in view.box)
    return left, top, min(opened.width, right), min(opened.height, bottom)


def _rgb(image: Any) -> Any:
    """In mode RGB: 16-bit grey by its upper bits, palettes with alpha by way of RGBA."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        grey = (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
        image = pillow().image.fromarray(grey)
    elif image.mode == "P":
        image = image.convert("RGBA")
    return image.convert("RGB")


def _load(image: Any, raw: bytes) -> None:
    """Decode it; ValueError where rows of a PNG are missing, which would be black.

    Those in front of a last row that is not black are there, unless they come in another order.
    """
    image.load()
    if image.format != "PNG":
        return
    last = np.asarray(image.crop((0, image.height - 1, *image.size)))
    if ("interlace" in image.info or not last.any()) and not has_all_rows(raw):
        raise ValueError("rows are missing")


class _naming:  # noqa: N801 - read as a word of the `with` statement
    """Whatever Pillow raises becomes a BrokenImageError that names the image."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        # Decoders of hostile bytes raise nearly anything: OSError, SyntaxError, struct.error, ...
        if isinstance(error, Exception) and not isinstance(error, (ArgumentError, MemoryError)):
            unknown = "cannot identify image file" in str(error)
            why = "it is neither JPEG nor PNG, or damaged" if unknown else error
            raise BrokenImageError(f"{self.name}: cannot be decoded: {why}") from error
