"""How a tile leaves its block, by hand from `Gemm::give`: rows at once, turns, waits."""

from __future__ import annotations

import pytest

from minidl.ops.cuda.passage import Passage
from minidl.ops.cuda.product import TILES, Operand, Tile

BF16, WEIGHTS, ROWS = Operand(2, True), Operand(4, True), Operand(2, False)
FLOATS = Operand(4, True)
BY_NAME = {tile.name: tile for tile in TILES}

BY_HAND: dict[str, tuple[str, Operand, Operand, int, int, tuple[int, int]]] = {
    "84 KB hold all rows; 4 vectors of 8 are held": (
        "bf16 128x128x32", BF16, WEIGHTS, 8, 1, (128, 2)),
    "51 KB hold half of them; 4 vectors of 4": ("bf16 128x128x32", ROWS, ROWS, 4, 1, (64, 4)),
    "columns one by one": ("bf16 128x128x32", BF16, WEIGHTS, 1, 1, (128, 16)),
    "a window of 4 rows: one vector of each": ("bf16 128x128x32", BF16, WEIGHTS, 8, 4, (128, 2)),
    "16 of 32 sums are held": ("bf16 128x64x32", BF16, WEIGHTS, 8, 1, (128, 2)),
    "a window more than half of the sums": ("bf16 32x32x32", BF16, WEIGHTS, 8, 4, (32, 1)),
    "float32 in one round of 4": ("bf16 64x64x32", BF16, WEIGHTS, 4, 1, (64, 2)),
    "float32 units": ("simt 128x128x16", FLOATS, FLOATS, 4, 1, (32, 4)),
}  # fmt: skip
"""Tile, operands, vector, taps; rows at once and turns."""


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    tile, a, b, vector, taps, expected = BY_HAND[name]
    shared = BY_NAME[tile].shared_bytes(a, b)
    passage = Passage(BY_NAME[tile], shared, vector, taps, divides=False)
    assert (passage.rows, passage.turns) == expected


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name)
@pytest.mark.parametrize("vector", [1, 4, 8])
def test_turns_cover_the_tile(tile: Tile, vector: int) -> None:
    """All turns of all threads have as many results as the tile, or a few more."""
    passage = Passage(tile, tile.shared_bytes(FLOATS, FLOATS), vector, 1, divides=False)
    most = passage.turns * tile.threads * vector * 4
    assert most >= tile.m * tile.n
    assert passage.turns <= passage.portions * passage.results // vector


def test_what_is_asked_for() -> None:
    """128 x 128 in bf16: 64 results a thread."""
    tile = BY_NAME["bf16 128x128x32"]
    whole = Passage(tile, tile.shared_bytes(BF16, WEIGHTS), 8, 1, divides=False)
    assert whole.epilogue(reads=False, rounds=1).rounds == 0
    assert whole.epilogue(reads=True, rounds=1).rounds == 2, "not 32, one for each fragment"
    assert whole.epilogue(reads=True, rounds=3).rounds == 6, "loads behind stores wait again"
    divided = Passage(tile, whole.shared, 8, 1, divides=True)
    more = divided.epilogue(False, 1).instructions - whole.epilogue(False, 1).instructions
    assert more == 60 * 128 / 256, "once a row of 128, by 256 threads"
    half = Passage(tile, tile.shared_bytes(ROWS, ROWS), 8, 1, divides=False)
    more = half.epilogue(False, 1).instructions - whole.epilogue(False, 1).instructions
    assert more == 32 * 12 / 2, "rows go through twice"
