"""The table of counts: its rows are what the review counted, and what has no row is estimated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from docs.review import CLOCKS, DY, FILTERS, LOOPS, PATCHES, WEIGHTS, bf16, clocks
from minidl.cards import ARCHITECTURES
from minidl.roofline import Counts, MainLoop, Operand, read_counts
from minidl.roofline.model import ISSUE, L2, SHARED, TENSOR

COUNTED = {
    "forward 128x128": (182, 291, 992),
    "forward 128x64": (132, 225, 800),
    "dgrad 128x128": (188, 383, 992),
    "dgrad 128x64": (147, 293, 800),
    "wgrad 128x128": (144, 222, 512),
    "wgrad 64x128": (96, 194, 352),
    "first layer forward 128x64": (152, 419, 800),
    "TF32 forward 128x128": (146, 336, 512),
}
"""Registers, instructions and wavefronts that the review counted for sm_90a."""


@pytest.mark.parametrize("name", COUNTED)
def test_rows(name: str) -> None:
    count = read_counts().of(LOOPS[name], "sm_90a")
    assert (count.registers, count.instructions, count.wavefronts) == COUNTED[name]
    assert not count.estimated


@pytest.mark.parametrize("name", CLOCKS)
def test_clocks_of_the_review(name: str) -> None:
    found = clocks(name)
    for resource, told in zip((TENSOR, ISSUE, SHARED, L2), CLOCKS[name], strict=True):
        assert told is None or found[resource] == pytest.approx(told, abs=1)


@pytest.mark.parametrize("name", [name for name in LOOPS if " forward" not in name])
def test_what_is_left_out_is_estimated_from_the_nearest(name: str) -> None:
    """Within a third of what was counted: the nearest is another tile or pass."""
    loop, table = LOOPS[name], read_counts()
    rest = Counts(tuple(row for row in table.rows if row.key != loop.key))
    found, exact = rest.of(loop, "sm_90a"), table.of(loop, "sm_90a")
    assert found.estimated
    assert found.instructions == pytest.approx(exact.instructions, rel=0.34)
    assert found.wavefronts == pytest.approx(exact.wavefronts, rel=0.34)


def test_the_nearest_has_the_same_unit_then_sources_then_tile_then_architecture() -> None:
    counts = read_counts()
    forward = LOOPS["forward 128x128"]
    assert counts.of(forward, "sm_89").instructions == 260
    newer = counts.of(forward, "sm_121")
    assert newer.instructions in (246, 255, 260, 291), "of an architecture without rows"
    wider = counts.of(replace(forward, b=Operand("Matrix<float, 2, true>", 4)), "sm_90a")
    assert (wider.instructions, wider.estimated) == (291, True)
    unpooled = Operand("Unpooled<Patches<bf16, 8, true, false>, Unpool<bf16, 2, 2, 2>>", 2)
    assert counts.of(bf16(128, 128, 64, 3, unpooled, FILTERS), "sm_90a").instructions == 383
    square = replace(DY, kind="Matrix<bf16, 8, false>")
    assert counts.of(bf16(128, 128, 64, 3, square, square), "sm_90a").instructions == 222
    small = MainLoop(
        "bf16",
        "TensorCore<Bf16, 64, 64, 32, 32, 32, 4, true>",
        64,
        64,
        32,
        (32, 32),
        128,
        PATCHES,
        WEIGHTS,
    )
    count = counts.of(small, "sm_90a")
    assert count.estimated
    assert small.least_wavefronts < count.wavefronts < 800


def test_bytes_and_wavefronts_by_hand() -> None:
    """128 x 128 x 32: 8 KB of bf16 and 16 KB of float32 are written once; each of 8 warps reads 64
    rows of the one, 32 of the other."""
    loop = LOOPS["forward 128x128"]
    assert loop.copied == 8192 + 16384
    assert loop.least_wavefronts == (8 * 32 * (64 * 2 + 32 * 4) + 24576) / 128


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    """Columns behind `wavefronts` are not read, and wavefronts may be missing."""
    file = tmp_path / "counts.csv"
    kind = LOOPS["forward 128x128"].kind
    file.write_text(
        "main loop,a,b,architecture,registers,instructions,wavefronts,HMMA\n"
        f'"{kind}","{PATCHES.kind}","{WEIGHTS.kind}",sm_90a,100,150,,32\n'
    )
    count = read_counts(file).of(LOOPS["forward 128x128"], "sm_90a")
    assert (count.registers, count.instructions) == (100, 150)
    assert count.wavefronts == LOOPS["forward 128x128"].least_wavefronts, "without conflicts"


def test_every_architecture_has_rows_or_a_nearest_one() -> None:
    for name in ARCHITECTURES:
        for loop in LOOPS.values():
            assert read_counts().of(loop, name).instructions > 100
