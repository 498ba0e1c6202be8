"""In which order a product's tiles come, and how a tile passes through shared memory."""

from __future__ import annotations

import ctypes
import functools
import random
from collections import Counter

import pytest

from minidl.checkout import kernels_folder
from minidl.ops.cuda import loop
from minidl.ops.cuda.bands import BAND, band_of
from minidl.ops.cuda.launch import pack
from minidl.ops.cuda.matrix import radix, raster
from minidl.ops.cuda.passage import Passage
from minidl.ops.cuda.product import TILES, Operand, Tile
from tests.simulator.build import COMPILER, Toolchain
from tests.simulator.test_main_loops import PRECISIONS, bits_of_a_case

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

WIDTHS = sorted({tile.n for tile in TILES})
BANKS = 32
SOURCE = f"""#include "linear.cu"
extern "C" int place(int columns, int row, int column) {{
    switch (columns) {{
        {"".join(f"case {n}: return TileRows<1, {n}>::place(row, column); " for n in WIDTHS)}
    }}
    return -1;
}}
extern "C" void tiles(const Raster* raster, int count, int* out) {{
    for (int i = 0; i < count; i++) raster->tile(i, out[2 * i], out[2 * i + 1]);
}}
extern "C" int counts(const Radix* radix, int first, int stage, int stages) {{
    Digits now = radix->digits(first);
    for (int i = 1; i <= stages; i++) {{
        radix->advance(now);
        const Digits there = radix->digits(first + i * stage);
        if (now.high != there.high || now.middle != there.middle || now.low != there.low) return i;
    }}
    return 0;
}}
template <class Loop, bool K_MAJOR>
int rows_at_once() {{
    using Source = Matrix<float, 4, K_MAJOR>;
    return Gemm<Loop, Source, Source, Out<float>, SameRow, 4>::ROWS;
}}
extern "C" int rows(int tile, int k_major) {{
    switch (tile) {{
        {
    "".join(
        f'''case {i}: return k_major ? rows_at_once<{tile.main_loop}, true>()
                                 : rows_at_once<{tile.main_loop}, false>();
        '''
        for i, tile in enumerate(TILES)
    )
}
    }}
    return -1;
}}
"""


@functools.cache
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(Toolchain(("-O1",), (), kernels_folder()).made(SOURCE)))


def packed(argument: object) -> bytes:
    return pack((argument,), lambda _: 0)


# -- the order of tiles ----------------------------------------------------------------------------


def tiles(down: int, across: int, band: int) -> list[tuple[int, int]]:
    out = (ctypes.c_int * (2 * down * across))()
    library().tiles(packed(raster(down, across, band)), down * across, out)
    return list(zip(out[::2], out[1::2], strict=True))


@pytest.mark.parametrize("band", [1, 3, BAND, 1000])
def test_each_tile_comes_once_band_by_band(band: int) -> None:
    seed = random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    for _ in range(50):
        down, across = draw.randint(1, 70), draw.randint(1, 20)
        found = tiles(down, across, min(band, down))
        expected = sorted((m // band, n, m) for m in range(down) for n in range(across))
        assert found == [(m, n) for _, n, m in expected], (seed, down, across)


def test_a_band_is_chosen_where_it_saves_bytes() -> None:
    """Operands that the cache holds, or a single column of tiles, come as they lie."""
    much, little, cache = 200 * 2**20, 2**20, 40 * 2**20
    assert band_of(1000, 4, (much, little), cache) == BAND
    assert band_of(1000, 1, (much, little), cache) == 1000
    assert band_of(1000, 4, (little, little), cache) == 1000
    assert band_of(1000, 4, (much, much), cache) == 1000, "b would be read for each band"
    assert band_of(5, 4, (much, little), 2**20) <= BAND


@pytest.mark.parametrize("unit", ["simt", "bf16"])
def test_bands_change_no_bit(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tile = next(tile for tile in reversed(TILES) if tile.unit == unit)
    precision, shapes = PRECISIONS[unit], []
    expected = bits_of_a_case("linear-tiles", precision, tile, 1)

    def of_two(down: int, across: int, *_: object) -> int:
        shapes.append((down, across))
        return min(2, down)

    monkeypatch.setattr(loop, "band_of", of_two)
    assert bits_of_a_case("linear-tiles", precision, tile, 1) == expected
    assert any(down > 2 and across > 1 for down, across in shapes), shapes


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name)
def test_rows_that_pass_through_shared_memory_at_once(tile: Tile) -> None:
    """The model of time knows as many as the kernel."""
    for k_major in (False, True):
        shared = tile.shared_bytes(Operand(4, k_major), Operand(4, k_major))
        passage = Passage(tile, shared, vector=4, taps=1, divides=False)
        assert passage.rows == library().rows(TILES.index(tile), k_major)


# -- counts ----------------------------------------------------------------------------------------


def test_a_count_moves_on_as_division_says() -> None:
    """Digits that fit a stage, that run over at every one, and of one value."""
    seed = random.SystemRandom().randrange(2**32)
    draw = random.Random(seed)
    for _ in range(300):
        middle, low = draw.choice((1, 2, 3, 7, 56)), draw.choice((1, 3, 8, 24, 32, 40, 512))
        stage, first = draw.choice((16, 32)), draw.randrange(5000)
        wrong = library().counts(packed(radix(stage, middle, low)), first, stage, 200)
        assert not wrong, (seed, middle, low, stage, first, wrong)


# -- banks -----------------------------------------------------------------------------------------


def conflicts(places: list[int], width: int) -> int:
    """The most accesses to one bank beyond the first, of threads that access `width` floats each;
    as many threads as have 128 bytes go at once."""
    at_once = BANKS // width
    most = 0
    for first in range(0, len(places), at_once):
        banks = Counter(
            (place + i) % BANKS for place in places[first : first + at_once] for i in range(width)
        )
        most = max(most, max(banks.values()) - 1)
    return most


def written(tile: Tile, row: int, column: int) -> tuple[list[int], int]:
    """Places that a warp writes at once, and floats of each: a fragment's, or of Simt's threads."""
    place = library().place
    if tile.unit != "simt":
        return [place(tile.n, row + t // 4, column + t % 4 * 2) for t in range(32)], 2
    across = tile.n // tile.share[1]
    found = [place(tile.n, row + t // across * 4, t % across * 4) for t in range(32)]
    return found, 4


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name)
def test_no_access_to_the_rows_of_a_tile_has_a_conflict(tile: Tile) -> None:
    place = library().place
    rows = range(0, 16, 8)
    seen = {place(tile.n, row, column) for row in range(4) for column in range(tile.n)}
    assert len(seen) == 4 * tile.n, "two elements in one place"
    for row in rows:
        for column in range(0, tile.n, 8):
            assert not conflicts(*written(tile, row, column)), (row, column)
        for vector in (4, 8):
            across = tile.n // vector
            for first in range(0, vector, 4):
                read = [
                    place(tile.n, row + t // across, t % across * vector + first) for t in range(32)
                ]
                assert not conflicts(read, 4), (row, vector, first)
