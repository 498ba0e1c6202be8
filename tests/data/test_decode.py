"""From bytes to pixels: modes, damage, size limits, and what a view shows."""

from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from minidl.data import BrokenImageError, View, decode
from minidl.data.decode import opened, pillow, seen, seen_of_array
from minidl.files.png_rows import CHANNELS, PASSES
from minidl.ir import ArgumentError, Array
from tests.data.images import encoded, pixels

RGB = pixels(20, 30)
IMAGE = Image.fromarray(RGB)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "I;16"])
def test_png_of_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(IMAGE.convert("L")).astype(np.uint16) * 256 + 77)
        expected = np.asarray(IMAGE.convert("L").convert("RGB"))
    else:
        image = IMAGE.convert(mode)
        expected = np.asarray(image.convert("RGB"))
    got = decode(encoded(image, "PNG"), "x")
    assert got.dtype == np.uint8
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_of_every_mode_becomes_rgb(mode: str) -> None:
    got = decode(encoded(IMAGE.convert(mode), "JPEG", quality=95), "x")
    expected = np.asarray(IMAGE.convert(mode).convert("RGB")).astype(int)
    assert got.shape == (20, 30, 3)
    assert abs(got - expected).mean() < 6


def test_palette_with_transparency_gives_no_warning() -> None:
    image = IMAGE.convert("P")
    raw = encoded(image, "PNG", transparency=bytes(range(256)))
    assert np.array_equal(decode(raw, "x"), np.asarray(image.convert("RGB")))


JPEG, PNG = encoded(RGB), encoded(RGB, "PNG")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"text",
        JPEG[: len(JPEG) // 2],
        JPEG[:20],
        PNG[: len(PNG) // 2],
        PNG[:60] + b"\xff" * 40 + PNG[100:],
        encoded(RGB, "GIF"),
        encoded(RGB, "BMP"),
    ],
    ids=["empty", "text", "half", "header", "half png", "png", "gif", "bmp"],
)
def test_broken_image_is_named(raw: bytes) -> None:
    with pytest.raises(BrokenImageError, match=r"class/4\.jpg: cannot be decoded"):
        decode(raw, "class/4.jpg")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)


@pytest.mark.parametrize("side", [9_460, 12_000, 100_000, 2**31 - 1])
def test_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    raw = png_header(side, side) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(BrokenImageError, match="x: "):
        decode(raw, "x")


def test_text_bomb_in_a_png_is_refused() -> None:
    text = b"key\0\0" + zlib.compress(bytes(2**27))
    raw = png_header(4, 4) + chunk(b"zTXt", text) + chunk(b"IEND", b"")
    with pytest.raises(BrokenImageError, match="x: "):
        decode(raw, "x")


def png_of(image: Array, colour: int, rows: int | None = None, interlaced: bool = False) -> bytes:
    """Pixels (H, W, C) uint8 as a PNG, of which the rows (of Adam7 the passes) after `rows` are
    missing; everything else of it is whole."""
    height, width = image.shape[:2]
    passes = [image[y::down, x::right] for x, y, right, down in PASSES[:rows]]
    lines = [line for part in passes for line in part] if interlaced else list(image[:rows])
    data = b"".join(b"\0" + line.tobytes() for line in lines if line.size)
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", header), (b"PLTE", bytes(range(256)) * 3)][: 2 if colour == 3 else 1]
    packed = zlib.compress(data)
    chunks += [(b"IDAT", packed[:9]), (b"IDAT", packed[9:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour", CHANNELS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (13, 10), (16, 16)])
@pytest.mark.parametrize("shade", [0, 1])
def test_png_with_rows_missing_is_broken(
    size: tuple[int, int], colour: int, interlaced: bool, shade: int
) -> None:
    """Not black; one that is black is what it is."""
    image = np.full((*size, CHANNELS[colour]), shade, np.uint8)
    assert decode(png_of(image, colour, interlaced=interlaced), "x").shape == (*size, 3)
    for rows in range(1, size[0]) if not interlaced else range(1, 7):
        if interlaced and not any(image[y::d, x::r].size for x, y, r, d in PASSES[rows:]):
            continue
        with pytest.raises(BrokenImageError, match="x: "):
            decode(png_of(image, colour, rows, interlaced), "x")
        with pytest.raises(BrokenImageError, match="x: "):
            look(png_of(image, colour, rows, interlaced), View((0, 0, *size[::-1]), (4, 4)))


@pytest.mark.parametrize(("side", "fits"), [(4_096, True), (4_097, False), (9_000, False)])
def test_a_small_file_is_no_large_image(side: int, fits: bool) -> None:
    """Found by the header, before anything is decoded."""
    raw = png_header(side, side) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    if fits:
        assert opened(raw, "x").image.size == (side, side)
    else:
        with pytest.raises(BrokenImageError, match=r"x: .* are decoded where there are at most 32"):
            opened(raw, "x")
    large = png_header(side, side) + chunk(b"tEXt", b"k\0" + bytes(side * side // 32))
    assert opened(large + chunk(b"IDAT", b"") + chunk(b"IEND", b""), "x").image.size == (side, side)


def test_limit_is_exact() -> None:
    assert decode(PNG, "x", limit=600).shape == (20, 30, 3)
    with pytest.raises(BrokenImageError, match=r"30 x 20 pixels are more than the 599 allowed"):
        decode(PNG, "x", limit=599)


def test_without_pillow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow.cache_clear()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ArgumentError, match=r"pip install 'minidl\[data\]'"):
        decode(PNG, "x")
    pillow.cache_clear()


def look(raw: bytes, view: View) -> Array:
    return seen(opened(raw, "x", 10**6), view, "x")


def test_view_of_the_whole_is_the_image() -> None:
    assert np.array_equal(look(PNG, View((0, 0, 30, 20), (20, 30))), RGB)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-1, 4)])
def test_view_shifts_zeros_in_and_flips(shift: tuple[int, int]) -> None:
    padded = np.pad(RGB, ((5, 5), (5, 5), (0, 0)))
    down, right = shift
    expected = padded[5 - down : 25 - down, 5 - right : 35 - right]
    view = View((0, 0, 30, 20), (20, 30), shift)
    assert np.array_equal(look(PNG, view), expected)
    assert np.array_equal(look(PNG, view._replace(flip=True)), expected[:, ::-1])
    assert np.array_equal(seen_of_array(RGB, view, "x"), expected)


def test_view_of_a_region_is_that_of_pillow() -> None:
    view = View((3, 2, 27, 18), (8, 12), flip=True)
    expected = IMAGE.resize((12, 8), Image.Resampling.BILINEAR, box=view.box)
    assert np.array_equal(look(PNG, view), np.asarray(expected)[:, ::-1])
    assert np.array_equal(seen_of_array(RGB, view, "x"), np.asarray(expected)[:, ::-1])
    grey = look(encoded(IMAGE.convert("L"), "PNG"), view)
    assert np.array_equal(grey[..., 0], grey[..., 2])


@pytest.mark.parametrize("side", [401, 800, 1300])
def test_jpeg_decoded_at_a_share_shows_the_same(side: int) -> None:
    raw = encoded(pixels(side, side + 3)[..., :1].repeat(3, 2) // 2 + 60, quality=95)
    view = View((10.0, 20.0, side - 30.0, side - 20.0), (64, 64))
    image = opened(raw, "x", 10**7)
    reduced = seen(image, view._replace(reduce=True), "x").astype(int)
    assert image.image.width < side
    whole = seen(opened(raw, "x", 10**7), view, "x").astype(int)
    assert abs(reduced - whole).mean() < 3


def test_png_and_small_regions_are_decoded_in_full() -> None:
    for raw, box in ((encoded(pixels(300, 300), "PNG"), 300.0), (encoded(pixels(300, 300)), 120.0)):
        image = opened(raw, "x", 10**6)
        seen(image, View((0, 0, box, box), (64, 64), reduce=True), "x")
        assert image.image.size == (300, 300)


def test_arrays_that_cannot_be_resized_are_refused() -> None:
    view = View((0, 0, 10, 10), (5, 5))
    with pytest.raises(ArgumentError, match="only uint8"):
        seen_of_array(np.zeros((10, 10, 3), np.float32), view, "x")
    with pytest.raises(ArgumentError, match="1 or 3 channels"):
        seen_of_array(np.zeros((10, 10, 5), np.uint8), view, "x")
    assert seen_of_array(np.zeros((10, 10, 1), np.uint8), view, "x").shape == (5, 5, 1)


def test_decoded_array_can_be_written_to() -> None:
    assert decode(PNG, "x").flags.writeable
