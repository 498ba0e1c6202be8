"""The table of counts: its rows are what the review counted, and what has no row is estimated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.instructions import WRITTEN, text
from docs.review import (
    CLOCKS,
    COUNTS,
    DY,
    FILTERS,
    LARGE,
    LOOPS,
    PATCHES,
    WEIGHTS,
    clocks,
)
from minidl.cards import ARCHITECTURES
from minidl.roofline import Counts, MainLoop, Operand, Shape, read_counts
from minidl.roofline.counts import arguments_of, key_of
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
    count = COUNTS.of(LOOPS[name], "sm_90a")
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
    loop, table = LOOPS[name], COUNTS
    rest = Counts(tuple(row for row in table.rows if row.key != loop.key))
    found, exact = rest.of(loop, "sm_90a"), table.of(loop, "sm_90a")
    assert found.estimated
    assert found.instructions == pytest.approx(exact.instructions, rel=0.34)
    assert found.wavefronts == pytest.approx(exact.wavefronts, rel=0.34)


def test_the_nearest_has_the_same_unit_then_sources_then_tile_then_architecture() -> None:
    counts = COUNTS
    forward = LOOPS["forward 128x128"]
    assert counts.of(forward, "sm_89").instructions == 260
    newer = counts.of(forward, "sm_121")
    assert (newer.instructions, newer.estimated) == (255, False), "sm_120 is nearest"
    wider = counts.of(replace(forward, b=Operand("Matrix<float, 2, true>", 4)), "sm_90a")
    assert (wider.instructions, wider.estimated) == (291, True)
    unpooled = Operand("Unpooled<Patches<bf16, 8, true, false>, Unpool<bf16, 2, 2, 2>>", 2)
    assert counts.of(MainLoop(LARGE, unpooled, FILTERS), "sm_90a").instructions == 383
    assert counts.of(MainLoop(LARGE, DY, DY), "sm_90a").instructions == 222, "of a Linear"
    small = MainLoop(Shape("bf16", 64, 64, 32, (32, 32)), PATCHES, WEIGHTS)
    count = counts.of(small, "sm_90a")
    assert count.estimated
    assert small.shape.threads == 128
    assert small.least_wavefronts < count.wavefronts < 800


def test_bytes_and_wavefronts_by_hand() -> None:
    """128 x 128 x 32: 8 KB of bf16 and 16 KB of float32 are written once; each of 8 warps reads 64
    rows of the one, 32 of the other."""
    loop = LOOPS["forward 128x128"]
    assert loop.copied == 8192 + 16384
    assert loop.least_wavefronts == (8 * 32 * (64 * 2 + 32 * 4) + 24576) / 128


FORWARD = (
    "Gemm<TensorCore<Bf16, 128, 128, 32, 64, 32, 3, true>, Patches<bf16, 8, true, false>, "
    "Matrix<float, 4, true>"
)
RELU = "Into<bf16, relu_forward, Out<bf16>, Value>, SameRow>"


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    """Whole kernels or main loops; no wavefronts, no rounds, other columns, other kernels."""
    file = tmp_path / "counts.csv"
    file.write_text(
        "kernel,chip,registers,tensor,a stage,rounds\n"
        f'"{FORWARD}, {RELU}",sm_90a,100,32,150,4\n'
        f'"{FORWARD}, Out<bf16>, SameRow>",sm_90a,90,32,140,\n'
        "batchnorm2d_statistics,sm_90a,20,0,40,\n"
    )
    counts, loop = read_counts(file), LOOPS["forward 128x128"]
    assert len(counts.rows) == 2
    exact = counts.of(loop, "sm_90a", f"{FORWARD}, {RELU}")
    assert (exact.registers, exact.instructions, exact.rounds) == (100, 150, 4)
    assert exact.wavefronts == loop.least_wavefronts, "as if without conflicts"
    other = counts.of(loop, "sm_90a", f"{FORWARD}, Out<float>, SameRow>")
    assert (other.instructions in (140, 150), other.rounds, other.estimated) == (True, 1, False)
    newer = counts.of(loop, "sm_100", f"{FORWARD}, {RELU}")
    assert (newer.registers, newer.instructions) == (100, 150), "of the same kernel elsewhere"


def test_names_of_kernels_are_read() -> None:
    kernel = f"{FORWARD}, {RELU}"
    assert list(arguments_of(kernel))[1:] == [
        "Patches<bf16, 8, true, false>",
        "Matrix<float, 4, true>",
        "Into<bf16, relu_forward, Out<bf16>, Value>",
        "SameRow",
    ]
    assert key_of(kernel) == LOOPS["forward 128x128"].key
    newer = kernel.replace("32, 3, true>", "32, 3>")
    assert key_of(newer) == key_of(kernel), "only tile and sources count"
    simt = "Gemm<Simt<64, 32, 16, 4, 4, true>, Matrix<float, 4, true>, Filters<4>, Out<float>>"
    assert key_of(simt) == (
        Shape("simt", 64, 32, 16, (4, 4)),
        "Matrix<float, 4, true>",
        "Filters<4>",
    )
    assert key_of(simt)[0].threads == 128
    with pytest.raises(ValueError, match="no main loop: Other<1>"):
        key_of("Gemm<Other<1>, Filters<4>, Filters<4>>")


def test_every_architecture_has_rows_or_a_nearest_one() -> None:
    for name in ARCHITECTURES:
        for loop in LOOPS.values():
            assert read_counts().of(loop, name).instructions > 75


def test_the_file_is_what_the_tables_say() -> None:
    assert WRITTEN.read_text(encoding="utf-8") == text(), "python -m benchmarks.instructions"


def test_the_kernels_of_today_need_fewer_instructions() -> None:
    """As the tables of main loops have them by NVRTC 13.5; wavefronts are those of the review."""
    found = {name: read_counts().of(LOOPS[name], "sm_90a") for name in COUNTED}
    assert [count.instructions for count in found.values()] == [
        132,
        108,
        166,
        137,
        109,
        83,
        341,
        232,
    ]
    assert [count.wavefronts for count in found.values()] == [row[2] for row in COUNTED.values()]
    assert not any(count.estimated for count in found.values())
    assert {row.rounds for row in read_counts().rows} == {1}, (
        "all loads of a turn before its stores"
    )
