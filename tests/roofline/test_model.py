"""The model of time: launches computed by hand, and more of anything is never slower."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidl.cards import ARCHITECTURES, BY_NAME, CARDS
from minidl.ir.card import Card, Peaks
from minidl.roofline import (
    BOUNDS,
    CONSTANTS,
    Epilogue,
    Reread,
    Stages,
    Work,
    resident,
    stage_clocks,
    time_of,
)
from minidl.roofline.model import DRAM, ISSUE, L2, LATENCY, LAUNCH, SHARED, TENSOR, UNITS

MICRO = 1e-6
TEN = Card(
    name="ten",
    title="a card of round numbers",
    limits=replace(ARCHITECTURES["sm_80"], mma=0.5),
    multiprocessors=10,
    l2=10**6,
    memory=10**9,
    kept=0,
    clock=1e9,
    peaks=Peaks(2e12, 4e12, 20e12),
    bandwidth=1e11,
    pcie=1e10,
    l2_bandwidth=3.5e11,
    launch=2 * MICRO,
)
"""A microsecond is 1,000 clocks; tensor cores do 1,000 operations of mma.sync a clock and
multiprocessor in bf16, memory 100 KB and the L2 350 KB a microsecond."""
STAGES = Stages("bf16", 10, 400_000, 100, 300, 8_000)
"""A stage of 8 warps: 400 clocks of tensor cores, 200 of issue, 300 of shared memory, 200 of L2."""
BLOCK = Work(10, 256, 0.0, shared=100_000, stages=STAGES)
ALONE = 1000 + 10 * sqrt(400**2 + 200**2 + 300**2 + 200**2)
"""Clocks: of a block that has its multiprocessor for itself."""


def test_clocks_of_a_stage() -> None:
    found = stage_clocks(STAGES, 8, TEN)
    assert found == pytest.approx({TENSOR: 400, ISSUE: 200, SHARED: 300, L2: 200})
    simt = replace(STAGES, unit="simt", operations=20_000)
    assert stage_clocks(simt, 8, TEN)[UNITS] == pytest.approx(100), "no mma.sync in it"


BY_HAND: dict[str, tuple[Work, float, str]] = {
    "an empty launch": (Work(1, 32, 0.0), 2, LAUNCH),
    "85 KB in vectors of 16 bytes": (Work(10, 256, 85_000), 2 + 1, LAUNCH),
    "850 KB in vectors of 16 bytes": (Work(10, 256, 850_000), 2 + 10, DRAM),
    "850 KB, 2 bytes at a time": (Work(10, 256, 850_000, access=2), 2 + 17, DRAM),
    "one block on each multiprocessor": (BLOCK, 2 + ALONE / 1000, TENSOR),
    "one more block": (replace(BLOCK, blocks=11), 2 + 2 * ALONE / 1000, TENSOR),
    "two blocks side by side": (
        replace(BLOCK, blocks=20, shared=80_000),
        2 + (1000 + 10 * 2 * (400**3 + 200**3 + 300**3 + 200**3) ** (1 / 3)) / 1000,
        TENSOR,
    ),
    "two blocks, and one": (
        replace(BLOCK, blocks=30, shared=80_000),
        2 + (1000 + 10 * 2 * (400**3 + 200**3 + 300**3 + 200**3) ** (1 / 3)) / 1000 + ALONE / 1000,
        TENSOR,
    ),
    "what follows is stored": (
        replace(BLOCK, epilogue=Epilogue(120, 0, 0)),
        2 + (ALONE + 120 * 2) / 1000,
        TENSOR,
    ),
    "by way of shared memory": (
        replace(BLOCK, epilogue=Epilogue(150, 400, 0)),
        2 + (ALONE + 500) / 1000,
        TENSOR,
    ),
    "by way of shared memory, two blocks side by side": (
        replace(BLOCK, blocks=20, shared=80_000, epilogue=Epilogue(150, 400, 0)),
        2
        + (1000 + 10 * 2 * (400**3 + 200**3 + 300**3 + 200**3) ** (1 / 3)) / 1000
        + 2 * (300**3 + 400**3) ** (1 / 3) / 1000,
        TENSOR,
    ),
    "what follows reads at each of ten pieces": (
        replace(BLOCK, epilogue=Epilogue(120, 0, 10)),
        2 + (ALONE + 120 * 2 + 10 * 650) / 1000,
        LATENCY,
    ),
    "what follows reads in four rounds": (
        replace(BLOCK, epilogue=Epilogue(120, 0, 4)),
        2 + (ALONE + 120 * 2 + 4 * 650) / 1000,
        TENSOR,
    ),
    "rows are divided at each piece": (
        replace(BLOCK, epilogue=Epilogue(3200, 0, 0)),
        2 + (ALONE + 3200 * 2) / 1000,
        ISSUE,
    ),
    "much of the tile's way through shared memory": (
        replace(BLOCK, epilogue=Epilogue(0, 2000, 0)),
        2 + (ALONE + 2000) / 1000,
        SHARED,
    ),
    "bank conflicts": (
        replace(BLOCK, stages=replace(STAGES, wavefronts=1000)),
        2 + (1000 + 10 * sqrt(400**2 + 200**2 + 1000**2 + 200**2)) / 1000,
        SHARED,
    ),
    "many operands": (
        replace(BLOCK, stages=replace(STAGES, copied=40_000)),
        2 + (1000 + 10 * sqrt(400**2 + 200**2 + 300**2 + 1000**2)) / 1000,
        L2,
    ),
    "a long way from the L2": (
        Work(1000, 256, 0.0, stages=replace(STAGES, copied=40_000, operations=1000, count=4)),
        2 + 160e6 / 3.5e5,
        L2,
    ),
    "rows that the L2 keeps": (
        Work(100, 256, 850_000, reread=Reread(10**6, 1, 100, 5, 10**6)),
        2 + 10,
        DRAM,
    ),
    "rows that the L2 does not keep": (
        Work(100, 256, 850_000, reread=Reread(1_700_000, 1, 100, 5, 1_700_000)),
        2 + 10 + 4 * 20,
        DRAM,
    ),
    "columns that the L2 keeps beside a band's rows": (
        Work(100, 256, 850_000, reread=Reread(170_000, 1, 100, 5, 10**6)),
        2 + 10,
        DRAM,
    ),
    "columns that it does not keep beside them": (
        Work(100, 256, 850_000, reread=Reread(170_000, 1, 100, 5, 10**6 + 1)),
        2 + 10 + 4 * 2,
        DRAM,
    ),
    "of every split": (
        Work(100, 256, 850_000, reread=Reread(1_700_000, 3, 100, 2, 1_700_000)),
        2 + 10 + 3 * 20,
        DRAM,
    ),
    "columns of tiles side by side": (
        Work(100, 256, 850_000, reread=Reread(1_700_000, 1, 16, 5, 1_700_000)),
        2 + 10,
        DRAM,
    ),
}
"""Launches on `TEN`: microseconds, and what bounds them."""


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    work, micros, bound = BY_HAND[name]
    time = time_of(work, TEN)
    assert time.seconds == pytest.approx(micros * MICRO)
    assert time.bound == bound


def test_blocks_on_a_multiprocessor() -> None:
    assert resident(Work(1, 256, 0.0), TEN) == 8, "by threads"
    assert resident(Work(1, 32, 0.0), TEN) == 32, "by blocks"
    assert resident(Work(1, 256, 0.0, registers=128), TEN) == 2
    assert resident(Work(1, 256, 0.0, registers=129), TEN) == 1, "in steps of 8 a thread"
    assert resident(Work(1, 256, 0.0, shared=54 * 1024), TEN) == 2
    assert resident(Work(1, 256, 0.0, shared=163 * 1024), TEN) == 1


# -- more is never slower --------------------------------------------------------------------------

COUNT = st.integers(1, 5000)
SIZE = st.integers(0, 10**9)
STAGED = st.builds(
    Stages,
    st.sampled_from(["simt", "tf32", "bf16"]),
    st.integers(1, 200),
    st.integers(1000, 2**21),
    st.integers(10, 1500),
    st.integers(10, 1500),
    st.integers(100, 50_000),
)
WORK = st.builds(
    Work,
    st.integers(1, 100_000),
    st.sampled_from([32, 64, 128, 256, 512]),
    SIZE,
    st.sampled_from([2, 4, 8, 16]),
    st.integers(0, 99 * 1024),
    st.integers(16, 255),
    st.none() | STAGED,
    st.none() | st.builds(Epilogue, st.floats(0, 5000), st.integers(0, 2048), st.integers(0, 64)),
    st.none() | st.builds(Reread, SIZE, st.integers(1, 64), COUNT, st.integers(1, 64), SIZE),
)
TIMES = st.floats(1, 4)
DRAWN = settings(deadline=None, suppress_health_check=list(HealthCheck))
"""A machine at work is slow."""


def _wider(card: Card, factor: float) -> Card:
    """With more multiprocessors, each as it was."""
    more = int(card.multiprocessors * factor)
    share = more / card.multiprocessors
    return replace(card, multiprocessors=more, peaks=card.peaks.times(share))


BETTER = {
    "bandwidth": lambda c, x: replace(c, bandwidth=c.bandwidth * x),
    "L2 bandwidth": lambda c, x: replace(c, l2_bandwidth=c.l2_bandwidth * x),
    "L2": lambda c, x: replace(c, l2=int(c.l2 * x)),
    "clock": lambda c, x: replace(c, clock=c.clock * x),
    "peaks": lambda c, x: replace(c, peaks=c.peaks.times(x)),
    "multiprocessors": _wider,
    "launch": lambda c, x: replace(c, launch=c.launch / x),
    "mma": lambda c, x: replace(c, limits=replace(c.limits, mma=c.limits.mma * x)),
}


@DRAWN
@given(st.sampled_from(CARDS), WORK, st.sampled_from(sorted(BETTER)), TIMES)
def test_more_is_never_slower(card: Card, work: Work, what: str, factor: float) -> None:
    before, after = time_of(work, card), time_of(work, BETTER[what](card, factor))
    assert after.seconds <= before.seconds * (1 + 1e-9)


@DRAWN
@given(st.sampled_from(CARDS), WORK)
def test_less_work_is_never_slower(card: Card, work: Work) -> None:
    less = replace(work, blocks=-(-work.blocks // 2), moved=work.moved / 2)
    assert time_of(less, card).seconds <= time_of(work, card).seconds * (1 + 1e-9)


@DRAWN
@given(st.sampled_from(CARDS), WORK)
def test_a_time_is_longer_than_each_of_its_parts(card: Card, work: Work) -> None:
    time = time_of(work, card)
    assert set(time.parts) <= set(BOUNDS)
    assert time.bound in time.parts
    assert all(part <= time.seconds * (1 + 1e-9) for part in time.parts.values())


def test_constants_say_where_they_are_from() -> None:
    for name, value, what, source in CONSTANTS.rows():
        assert value > 0, name
        assert what, name
        assert source, name
    shares = [CONSTANTS.share(n) for n in (1, 2, 4, 8, 16, 32)]
    assert shares == sorted(shares)


def test_cards_of_one_rate_are_the_same_in_all() -> None:
    """80 GB of the A100 differ from 40 by bandwidth alone."""
    small, large = BY_NAME["a100"], BY_NAME["a100-80gb"]
    assert small.l2_bandwidth == large.l2_bandwidth == 5120 * small.clock
    assert replace(small, bandwidth=large.bandwidth, name="", aliases=()).peaks == large.peaks
