"""The model of the L2 cache that orders of tiles are counted by."""

from __future__ import annotations

from benchmarks.raster import by_bands, read


def test_a_wave_reads_what_its_tiles_share_once() -> None:
    """Six tiles of 3 x 2 at once: three pieces of a, two of b."""
    assert read(by_bands(3, 2, 3), (10, 1), wave=6, cache=0) == 3 * 10 + 2 * 1


def test_without_room_each_wave_reads_all_that_it_needs() -> None:
    """One tile at a time down the columns: both operands for each of six tiles; with room for
    all of them, once."""
    assert read(by_bands(3, 2, 3), (10, 1), wave=1, cache=0) == 6 * 11
    assert read(by_bands(3, 2, 3), (10, 1), wave=1, cache=32) == 3 * 10 + 2 * 1


def test_bands_keep_their_rows() -> None:
    """Room for two pieces of a and two of b: down the columns a is read for each of them, in
    bands of two once, and b for each band."""
    columns, bands = (read(by_bands(4, 3, band), (10, 1), wave=1, cache=22) for band in (4, 2))
    assert columns == 3 * 4 * 10 + 3 * 1
    assert bands == 4 * 10 + 2 * 3 * 1
