"""Images turned as their Exif says: every orientation, wherever it stands, and damaged ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.data import ImageFolder, Loader, View, decode, evaluation
from minidl.data.decode import opened, seen
from minidl.files.exif import orientation
from minidl.ir import Array
from minidl.predict import ModelCard
from tests.data.images import encoded, pixels
from tests.layers.harness import SEED

STORED: dict[int, Callable[[Array], Array]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}
"""By orientation, how an upright image is stored."""


def stored(upright: Array, number: int, kind: str, mode: str = "RGB", **how: object) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(STORED[number](upright))).convert(mode)
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", number
    return encoded(image, kind, exif=exif, **how)


def chunk_behind(raw: bytes) -> bytes:
    """A PNG whose eXIf stands behind the image's data."""
    at = raw.index(b"eXIf") - 4
    size = 12 + struct.unpack(">I", raw[at : at + 4])[0]
    chunk, rest = raw[at : at + size], raw[:at] + raw[at + size :]
    return rest[:-12] + chunk + rest[-12:]


@pytest.mark.parametrize("number", STORED)
@pytest.mark.parametrize("mode", ["RGB", "L", "LA"])
def test_a_png_is_decoded_upright(number: int, mode: str) -> None:
    upright = pixels(20, 31)
    raw = stored(upright, number, "PNG", mode)
    expected = decode(stored(upright, 1, "PNG", mode), "x")
    for each in (raw, chunk_behind(raw)):
        assert orientation(each) == number
        assert np.array_equal(decode(each, "x"), expected)
        image = opened(each, "x")
        assert (image.height, image.width) == (20, 31)


@pytest.mark.parametrize("number", STORED)
@pytest.mark.parametrize("reduce", [False, True])
def test_a_region_is_that_of_the_upright_image(number: int, reduce: bool) -> None:
    """Of PNG to the bit, of JPEG as far as it keeps colours; decoded whole or at a share."""
    upright = pixels(300, 412)
    view = View((31.0, 12.0, 391.0, 252.0), (48, 72), flip=True, reduce=reduce)

    def shown(raw: bytes) -> Array:
        return seen(opened(raw, "x"), view, "x").astype(int)

    assert np.array_equal(shown(stored(upright, number, "PNG")), shown(encoded(upright, "PNG")))
    how = {"quality": 95, "subsampling": 0}
    jpeg, plain = stored(upright, number, "JPEG", **how), encoded(upright, "JPEG", **how)
    assert abs(shown(jpeg) - shown(plain)).mean() < 1


@pytest.mark.parametrize("number", STORED)
def test_training_and_predict_see_the_same(number: int, tmp_path: Path) -> None:
    upright = pixels(64, 90)
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(stored(upright, number, "PNG"))
    ((images, _),) = Loader(ImageFolder(tmp_path), 2, transform=evaluation(32), seed=0).epoch(0)
    card = ModelCard("lenet", 2, (32, 32, 3), mean=(0.0,), std=(1.0,))
    expected = card.see(encoded(upright, "PNG"), "x")
    assert np.array_equal(images[0], expected)
    assert np.array_equal(card.see(stored(upright, number, "PNG"), "x"), expected)


def test_sixteen_bits_are_turned_too() -> None:
    grey = (pixels(9, 14)[..., 0].astype(np.uint16) << 8) + 7
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = encoded(Image.fromarray(np.ascontiguousarray(np.rot90(grey))), "PNG", exif=exif)
    assert np.array_equal(decode(raw, "x")[..., 0], grey >> 8)


def tiff(order: str, *entries: tuple[int, int, int, int], start: int = 8, count: int = 0) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    rows = b"".join(struct.pack(f"{order}HHIHH", *entry, 0) for entry in entries)
    size = struct.pack(f"{order}H", count or len(entries))
    return mark + struct.pack(f"{order}I", start) + size + rows


def jpeg(exif: bytes) -> bytes:
    body = b"Exif\0\0" + exif
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(body) + 2) + body + b"\xff\xda\0\2"


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        (jpeg(tiff("<", (0x112, 3, 1, 6))), 6),
        (jpeg(tiff(">", (0x10F, 2, 1, 0), (0x112, 3, 1, 8))), 8),
        (jpeg(tiff("<", (0x112, 3, 1, 0))), 1),
        (jpeg(tiff("<", (0x112, 3, 1, 9))), 1),
        (jpeg(tiff("<", (0x112, 4, 1, 6))), 1),
        (jpeg(tiff("<", (0x112, 3, 2, 6))), 1),
        (jpeg(tiff("<", (0x112, 3, 1, 6), start=2**32 - 1)), 1),
        (jpeg(tiff("<", (0x10F, 2, 1, 0), count=65535)), 1),
        (jpeg(b"XX*\0\10\0\0\0"), 1),
        (jpeg(b""), 1),
        (b"\xff\xd8\xff\xe1\0\0", 1),
        (b"\xff\xd8" + b"\xff" * 1000, 1),
        (b"\xff\xd8\xff\xe0\0\4JF" + jpeg(tiff("<", (0x112, 3, 1, 3)))[2:], 3),
        (b"\xff\xd8\xff\xda\0\2" + jpeg(tiff("<", (0x112, 3, 1, 3)))[2:], 1),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 99, 1),
        (b"", 1),
    ],
)
def test_what_is_said_of_it(raw: bytes, number: int) -> None:
    assert orientation(raw) == number


def test_damaged_bytes_say_a_number() -> None:
    print(f"MINIDL_TEST_SEED={SEED}")
    rng = random.Random(f"{SEED} exif")
    png = stored(pixels(6, 7), 6, "PNG")
    for whole in (stored(pixels(6, 7), 6, "JPEG")[:200], png):
        for _ in range(3000):
            raw = bytearray(whole[: rng.randrange(len(whole) + 1)])
            for _ in range(rng.randrange(4)):
                if raw:
                    raw[rng.randrange(len(raw))] = rng.randrange(256)
            assert 1 <= orientation(bytes(raw)) <= 8
    assert orientation(png) == 6
