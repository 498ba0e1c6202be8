"""The exact search: the optimum of small instances, the published hard ones, CSV files."""

from __future__ import annotations

import os
import random
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings

from benchmarks.instances import KINDS, instance
from minidl.cli import main
from minidl.compiler.lifetimes import Lifetime
from minidl.compiler.place import Block, Impossible, Placed, Undecided, fit, max_load, place, top
from minidl.compiler.place.blocks import crowds, neighbours
from minidl.compiler.place.exact import decide
from minidl.compiler.place.greedy import RANKS, fits, greedy
from minidl.compiler.place.table import read_table
from tests.compiler.test_place import blocks, optimum, st

QUICK = settings(deadline=None, derandomize=True, max_examples=80)


def meet(found: tuple[Block, ...] | list[Block], offsets: list[int]) -> bool:
    """Whether two blocks share a byte at one time, or one lies below 0."""
    pairs = combinations(zip(found, offsets, strict=True), 2)
    return min(offsets, default=0) < 0 or any(
        a.life.first < b.life.last
        and b.life.first < a.life.last
        and at < other + b.size
        and other < at + a.size
        for (a, at), (b, other) in pairs
    )


@QUICK
@given(blocks(6, st.integers(1, 9), 5))
def test_it_finds_the_optimum_and_proves_that_nothing_is_below(found: list[Block]) -> None:
    best = optimum(found)
    for height in (best, best + 1, best + 3):
        answer = decide(found, height, nodes=10**6)
        assert isinstance(answer, Placed)
        assert top(found, answer.offsets) <= height
        assert not meet(found, answer.offsets)
    if found:
        assert isinstance(decide(found, best - 1, nodes=10**6), Impossible)


ABOVE_ITS_LOAD = (
    *((1, 3, 3), (0, 2, 4), (2, 4, 2), (0, 8, 4), (4, 6, 3), (3, 5, 2), (2, 5, 3), (5, 9, 4)),
)
"""First, last, size: no placement reaches the load of these eight."""


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 24))]
)
def test_variants_of_blocks_that_do_not_reach_their_load(seed: int) -> None:
    chance = random.Random(seed)
    rows = [list(row) for row in ABOVE_ITS_LOAD]
    for _ in range(seed % 3):
        row = chance.choice(rows)
        row[chance.choice((1, 2))] += 1
    found = [Block(size, Lifetime(first, last)) for first, last, size in rows]
    best = optimum(found)
    answer = decide(found, best, nodes=10**6)
    assert isinstance(answer, Placed)
    assert not meet(found, answer.offsets)
    assert isinstance(decide(found, best - 1, nodes=10**6), Impossible)


def test_what_is_not_decided_is_not_called_impossible() -> None:
    """What is known to fit is placed or not decided, however little may be searched."""
    for kind in KINDS:
        known = instance(kind, 60, seed=3)
        for nodes in (0, 1, 50, 2000):
            answer = decide(known.blocks, known.height, nodes)
            assert isinstance(answer, Placed | Undecided), (kind, nodes)
            if isinstance(answer, Placed):
                assert not meet(known.blocks, answer.offsets)
            else:
                assert answer.nodes <= nodes
        assert isinstance(fit(known.blocks, known.height - 1, 1000), Impossible)


NODES = {"guillotine": 2000, "pinwheel": 2000, "long under short": 4000, "separate": 2000}
HARD_KINDS = {"equal": 12000, "unaligned": 2000}


@pytest.mark.parametrize(("kind", "nodes"), {**NODES, **HARD_KINDS}.items())
@pytest.mark.parametrize(
    "over", [0, *(pytest.param(over, marks=pytest.mark.slow) for over in (0.01, 0.05))]
)
def test_known_packings_are_found(kind: str, nodes: int, over: float) -> None:
    known = instance(kind, 300, seed=1)
    answer = decide(known.blocks, int(known.height * (1 + over)), nodes)
    assert isinstance(answer, Placed)
    assert top(known.blocks, answer.offsets) <= known.height * (1 + over)
    assert not meet(known.blocks, answer.offsets)


def test_as_many_blocks_as_there_are() -> None:
    """No depth of the search is too deep: 700 blocks, one above the other."""
    pile = [Block(1 + k % 3, Lifetime(0, 1 + k % 3)) for k in range(700)]
    answer = decide(pile, max_load(pile), 10_000)
    assert isinstance(answer, Placed)
    assert top(pile, answer.offsets) == max_load(pile)


@QUICK
@given(blocks(25, st.integers(1, 40), 12))
def test_placement_is_valid_repeatable_and_no_worse_than_greedy(found: list[Block]) -> None:
    offsets = place(found, effort=20_000)
    assert not meet(found, offsets)
    assert place(found, effort=20_000) == offsets
    assert top(found, offsets) >= max_load(found)
    beside, crowd = neighbours(found), crowds(found)
    for rank in RANKS.values():
        order = sorted(range(len(found)), key=lambda i: rank(found[i], crowd[i]))
        for way in fits(max_load(found)).values():
            assert top(found, offsets) <= greedy(found, beside, order, way).height


def test_many_blocks_take_the_short_way() -> None:
    chain = [Block(1 + k % 7, Lifetime(k, k + 5)) for k in range(4000)]
    offsets = place(chain)
    assert top(chain, offsets) <= 1.6 * max_load(chain)
    assert not meet(chain[:300], offsets[:300])


DATA = os.environ.get("MINIDL_DATA")


@pytest.mark.skipif(not DATA, reason="MINIDL_DATA names no folder with the published instances")
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in "ABCDE"])
def test_published_hard_instances(name: str, tmp_path: Path) -> None:
    file = Path(DATA or "") / "minimalloc" / f"{name}.1048576.csv"
    out = tmp_path / "out.csv"
    assert main(["place", str(file), "--capacity", "1048576", "--out", str(out)]) == 0
    before, after = read_table(file.read_text(), "in"), read_table(out.read_text(), "out")
    assert after.blocks == before.blocks
    assert [row["id"] for row in after.rows] == [row["id"] for row in before.rows]
    offsets = [int(row["offset"]) for row in after.rows]
    assert not meet(after.blocks, offsets)
    assert top(after.blocks, offsets) <= 1048576


# -- CSV files -------------------------------------------------------------------------------------

GOOD = "id,lower,upper,size\na,0,3,4\nb,1,2,6\nc,2,5,6\n"


def run(tmp_path: Path, text: str | bytes, *flags: str) -> tuple[int, Path]:
    file, out = tmp_path / "in.csv", tmp_path / "out.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return main(["place", str(file), "--out", str(out), *flags]), out


def test_a_file_comes_back_with_offsets(tmp_path: Path) -> None:
    code, out = run(tmp_path, GOOD)
    assert code == 0
    table = read_table(out.read_text(), "out")
    assert table.columns == ("id", "lower", "upper", "size", "offset")
    offsets = [int(row["offset"]) for row in table.rows]
    assert top(table.blocks, offsets) == 10
    assert not meet(table.blocks, offsets)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["in.csv", "out.csv"]


def test_a_capacity_that_is_too_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(tmp_path, GOOD, "--capacity", "9")
    assert code == 1
    assert not out.exists()
    assert "proven: they do not fit into 9 bytes; 10 bytes are live" in capsys.readouterr().err


def test_a_capacity_that_is_not_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minidl.cli.place.fit", lambda *_: Undecided(1234))
    code, out = run(tmp_path, GOOD, "--capacity", "10", "--effort", "2")
    assert code == 3
    assert not out.exists()
    assert "not decided whether they fit into 10 bytes: 1,234 nodes" in (
        error := capsys.readouterr().err
    )
    assert "--effort 20" in error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'id'"),
        ("id,lower,size\na,0,1\n", "no column 'upper'"),
        ("id,lower,upper,size\n", "no row"),
        ("id,lower,upper,size,size\na,0,1,1,1\n", "twice"),
        ("id,lower,upper,size\na,0,1\n", "line 2: 4 fields"),
        ("id,lower,upper,size\na,0,1,1,1\n", "line 2: 4 fields"),
        ("id,lower,upper,size\na,0,1,x\n", "line 2: size 'x' is no whole number"),
        ("id,lower,upper,size\na,0,1.5,1\n", "line 2: upper '1.5' is no whole number"),
        ("id,lower,upper,size\na,2,2,1\n", "line 2: upper 2 must be more than lower 2"),
        ("id,lower,upper,size\na,3,2,1\n", "must be more than lower"),
        ("id,lower,upper,size\na,-1,2,1\n", "line 2: lower must be in"),
        ("id,lower,upper,size\na,0,2,-5\n", "line 2: size must be in"),
        ("id,lower,upper,size\na,0,2,1\nb,0,1,1\na,0,2,1\n", "line 4: id 'a' stands in line 2"),
        (f"id,lower,upper,size\na,0,2,{2**62}\n", "line 2: size must be in"),
        (f"id,lower,upper,size\na,0,2,{'9' * 5000}\n", "line 2: size must be in"),
        (b"\xff\xfe\x00id", "no text"),
    ],
)
def test_bad_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, words: str
) -> None:
    code, out = run(tmp_path, text)
    error = capsys.readouterr().err
    assert code == 2
    assert words in error
    assert "in.csv" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["place", str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err
