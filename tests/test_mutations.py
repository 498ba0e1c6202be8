"""Faults made on purpose: where they are drawn, how they are found again, what is said of them."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.mutations.compare import compare
from benchmarks.mutations.faults import KINDS, faults_in, with_fault
from benchmarks.mutations.lists import RefusedError, drawn, read_list, read_results, write_list
from benchmarks.mutations.rows import chosen_tests
from benchmarks.mutations.run import Settings, run
from benchmarks.mutations.trial import Limits, Tree

SOURCE = '''"""A docstring with 1 + 1 and a < b."""

from __future__ import annotations

from typing import Literal

__all__ = ["f" + "g"]

SIZE: Literal[1, 2] = 4


@marked(3)
def f(a: Literal[5], b: int) -> Literal[6]:
    """Another: 7 - 8."""
    if a < b:  # of ä and b
        raise ValueError(f"{a + b} is over {9}" + "!")
    first = b
    first = a * b if a and b else ()
    return f"{a - b}", first
'''


def changes(text: str) -> list[tuple[int, str, str, str]]:
    return [(f.line, f.kind, f.before, f.after) for f in faults_in("x.py", text)]


def test_faults_are_made_in_code_that_runs_and_nowhere_else() -> None:
    raised = 'raise ValueError(f"{a + b} is over {9}" + "!")'
    assigned = "first = a * b if a and b else ()"
    assert changes(SOURCE) == [
        (9, "constant", "4", "3"),
        (9, "constant", "4", "5"),
        (15, "negated", "a < b", "(not (a < b))"),
        (15, "comparison", "<", "<="),
        (16, "dropped", raised, "pass"),
        (18, "dropped", assigned, "pass"),
        (18, "arithmetic", "*", "+"),
        (18, "negated", "a and b", "(not (a and b))"),
        (18, "logic", "and", "or"),
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = a not  in b", "x = a in b"),
        ("x = (a) is (b)", "x = (a) is not (b)"),
        ("x = ü[i] % n", "x = ü[i] * n"),
        ("x = a <= b < c", "x = a < b < c"),
        ("x = [i for i in b if i]", "x = [i for i in b if (not (i))]"),
        ("x = lambda: 1", "x = lambda: 0"),
        ("x = a[0]", "x = a[(-1)]"),
        ("while x:\n    pass", "while (not (x)):\n    pass"),
        ("match x:\n    case 1:\n        y = z", "match x:\n    case 0:\n        y = z"),
    ],
)
def test_a_change_and_the_rest_as_it_was(code: str, expected: str) -> None:
    found = [with_fault(code, fault) for fault in faults_in("x.py", code)]
    assert expected in found


def test_every_fault_changes_its_place_only() -> None:
    for fault in faults_in("x.py", SOURCE):
        changed = with_fault(SOURCE, fault)
        assert changed is not None
        ast.parse(changed)
        lines, others = SOURCE.splitlines(), changed.splitlines()
        differ = [i for i, (a, b) in enumerate(zip(lines, others, strict=True), 1) if a != b]
        assert differ == [fault.line]
        assert others[fault.line - 1].encode()[: fault.column].isascii()


TWICE = "def f(a):\n    a += 1\n    a += 1\n\n\ndef g(a):\n    a += 1\n"


def test_a_fault_is_found_again_where_its_file_has_changed() -> None:
    second = next(f for f in faults_in("x.py", TWICE) if f.line == 3 and f.after == "2")
    moved = f'"""New."""\n\n\ndef e(a):\n    a += 1\n\n\n{TWICE}'
    expected = moved.replace("a += 1\n    a += 1", "a += 1\n    a += 2")
    assert with_fault(moved, second) == expected


def test_a_fault_of_another_statement_is_gone() -> None:
    second = next(f for f in faults_in("x.py", TWICE) if f.line == 3)
    assert with_fault(TWICE.replace("    a += 1\n    a", "    a"), second) is None
    assert with_fault("", second) is None


# -- lists and results, of a tree of one file ------------------------------------------------------

LAYER = "def larger(a, b):\n    if a > b:\n        return a\n    return b\n"
TEST = "from minidl.layers.layer import larger\n\n\ndef test_it():\n    assert larger({}) == 3\n"


def tree(folder: Path, test: str) -> Path:
    for name in ("minidl/layers", "minidl/compiler", "models", "tests/layers", "tests/compiler"):
        (folder / name).mkdir(parents=True)
    (folder / "minidl/layers/layer.py").write_text(LAYER)
    (folder / "tests/layers/test_layer.py").write_text(test)
    return folder


def listed(root: Path) -> Path:
    write_list(root / "list.json", 0, faults_in("minidl/layers/layer.py", LAYER))
    return root / "list.json"


ALL = Settings(jobs=1, seconds=float("inf"), limit=900, slow=False)


def outcomes(path: Path) -> list[str]:
    return [row["outcome"] for _, row in sorted(read_results(path).faults.items())]


def known_from(path: Path, killers: dict[int, str]) -> Path:
    rows = [{"list": "a"}, *({"fault": n, "test": test} for n, test in killers.items())]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
def test_faults_are_killed_or_survive_and_the_same_run_goes_on(tmp_path: Path) -> None:
    """`a > b` turned round is found, `a >= b` by a test only that is known from another run."""
    root = tree(tmp_path / "root", TEST.format("3, 2"))
    before = (root / "minidl/layers/layer.py").read_bytes()
    other = "from minidl.layers.layer import larger\n\n\n"
    other += "def test_the_second():\n    assert type(larger(1, 1.0)) is float\n"
    (root / "tests/test_other.py").write_text(other)
    out = root / "out.jsonl"
    assert run(root, listed(root), out, replace(ALL, seconds=0)) == 0
    assert outcomes(out) == []
    assert run(root, listed(root), out, ALL) == 0
    assert outcomes(out) == ["killed", "survived"]
    first = {0: "tests/layers/test_layer.py::test_it"}
    assert read_results(out).killers() == first
    out.write_bytes(out.read_bytes()[:-10])  # killed while it wrote
    assert outcomes(out) == ["killed"]
    rest = root / "rest.jsonl"  # of nothing that was found
    none = results(root / "none.jsonl", {0: "survived", 1: "red"})
    assert run(root, listed(root), rest, replace(ALL, known=none, found=True)) == 0
    assert outcomes(rest) == []
    known = known_from(root / "known.jsonl", {1: "tests/test_other.py::test_the_second"})
    assert run(root, listed(root), out, replace(ALL, known=known)) == 0
    assert read_results(out).killers() == {**first, 1: "tests/test_other.py::test_the_second"}
    assert (root / "minidl/layers/layer.py").read_bytes() == before
    (root / "tests/layers/test_layer.py").write_text("")
    with pytest.raises(RefusedError, match="name another --out"):
        run(root, listed(root), out, ALL)


@pytest.mark.parametrize(
    ("code", "limits"),
    [("import time; time.sleep(900)", Limits(0.5, 60)), ("while True: pass", Limits(900, 1))],
)
def test_what_does_not_end_is_ended(code: str, limits: Limits, tmp_path: Path) -> None:
    copy = Tree(tree(tmp_path / "root", code))
    try:
        assert copy.run(["tests/layers/test_layer.py"], limits).outcome == "timed out"
    finally:
        copy.remove()
    assert not copy.root.exists()


FLAKY = """
import os
from minidl.layers.layer import larger

def test_it():
    if larger(3, 2) == 2 and not os.path.exists("met"):
        os.mkdir("met")
        raise AssertionError

def test_more():
    pass
"""


def test_what_fails_once_only_has_found_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", FLAKY)
    write_list(root / "list.json", 0, faults_in("minidl/layers/layer.py", LAYER)[:1])
    assert run(root, root / "list.json", root / "out.jsonl", ALL) == 0
    assert outcomes(root / "out.jsonl") == ["survived"]


def test_a_test_that_is_red_anyway_finds_nothing(tmp_path: Path) -> None:
    """And where the test that is known has gone, those of the file are asked."""
    root = tree(tmp_path / "root", TEST.format("2, 2"))
    write_list(root / "list.json", 0, faults_in("minidl/layers/layer.py", LAYER)[:1])
    known = known_from(root / "known.jsonl", {0: "tests/gone.py::test_it"})
    assert run(root, root / "list.json", root / "out.jsonl", replace(ALL, known=known)) == 0
    assert outcomes(root / "out.jsonl") == ["red"]


ROOT = Path(__file__).parents[1]
LISTS = sorted((ROOT / "benchmarks/results/mutations").glob("list-*.json"))


def test_a_seed_draws_the_same_faults_of_every_kind(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", "")
    (root / "minidl/compiler/a.py").write_text(SOURCE.replace("b\n    first", "b + 1\n    first"))
    counts = {"layers": 1, "passes": 7}
    one, same = drawn(root, 3, counts), drawn(root, 3, counts)
    assert one == same
    assert [f.file.split("/")[1] for f in one] == ["layers", *["compiler"] * 7]
    assert len({(f.line, f.column) for f in one[1:]}) == 7
    assert {f.kind for f in one} == set(KINDS)
    write_list(root / "list.json", 3, one)
    assert read_list(root / "list.json") == one


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_the_lists_that_are_kept_can_be_run(path: Path) -> None:
    """Their faults have tests; where their statements are is for `run` to say."""
    for fault in read_list(path):
        assert chosen_tests(fault.file, ROOT), fault


def results(path: Path, rows: dict[int, str], of: str = "a") -> Path:
    lines = [
        {"list": of},
        *(
            {"fault": n, "outcome": o, "what": f"fault {n}", "test": "t::a"}
            for n, o in rows.items()
        ),
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


OLD = {0: "killed", 1: "timed out", 2: "survived", 3: "killed"}


@pytest.mark.parametrize(
    ("new", "code", "said"),
    [
        (OLD, 0, "killed before, survive now: 0"),
        (OLD | {2: "killed"}, 0, "survived before, killed now: 1\n  2  fault 2"),
        (OLD | {0: "timed out", 3: "gone"}, 0, "no longer there: 1\n  3  fault 3"),
        (OLD | {0: "survived"}, 1, "survive now: 1\n  0  fault 0\n      by t::a"),
        (OLD | {1: "survived"}, 1, "survive now: 1\n  1  fault 1"),
        (OLD | {1: "red"}, 1, "without the fault as well: 1\n  1  fault 1"),
        ({0: "killed", 1: "killed"}, 1, "not tried: 1\n  3  fault 3"),
        ({0: "killed", 1: "killed", 3: "killed"}, 0, "not tried: 0"),
    ],
)
def test_what_is_no_longer_found_is_said(
    new: dict[int, str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = results(tmp_path / "a", OLD), results(tmp_path / "b", new)
    assert compare(before, after) == code
    assert said in capsys.readouterr().out


def test_results_of_two_lists_are_not_compared(tmp_path: Path) -> None:
    before, after = results(tmp_path / "a", OLD), results(tmp_path / "b", OLD, of="b")
    with pytest.raises(RefusedError, match="different lists"):
        compare(before, after)
