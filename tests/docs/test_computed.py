"""Tables and images of the documentation are what the code computes: see docs/make.py."""

from __future__ import annotations

import random

import pytest

from docs import make
from docs.rows import Rows, table
from tests.drawn import drawn, everything

LONG = [key for key, made in make.TABLES.items() if isinstance(made, Rows)]
SHORT = [key for key in make.TABLES if key not in LONG]


def written(file: str, name: str) -> str:
    return make.section((make.ROOT / file).read_text(encoding="utf-8"), name)


@pytest.mark.parametrize(("file", "name"), SHORT, ids=str)
def test_table(file: str, name: str) -> None:
    assert written(file, name) == make.TABLES[file, name](), "run: python -m docs.make"


@pytest.mark.parametrize(("file", "name"), LONG, ids=str)
def test_head_and_number_of_rows(file: str, name: str) -> None:
    made = make.TABLES[file, name]
    assert isinstance(made, Rows)
    head, _, *lines = written(file, name).splitlines()
    assert head == table(made.head, ()).splitlines()[0]
    assert len(lines) == len(made.rows)


def test_a_row() -> None:
    """One row, drawn anew each time, of the tables that take minutes."""
    file, name = random.choice(LONG)
    made = make.TABLES[file, name]
    assert isinstance(made, Rows)
    _, _, *lines = written(file, name).splitlines()
    row = random.choice(made.short or range(len(lines)))
    assert lines[row] == made.line(row), f"{file} {name}, row {row}: run python -m docs.make"


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name"), LONG, ids=str)
def test_rows_of_a_long_table(file: str, name: str) -> None:
    """A third of them in a session; those that cost minutes only where all is asked for."""
    made = make.TABLES[file, name]
    assert isinstance(made, Rows)
    _, _, *lines = written(file, name).splitlines()
    short = () if everything() else made.short
    for row in drawn(short or range(len(lines)), 3):
        assert lines[row] == made.line(row), f"row {row}: run python -m docs.make"


@pytest.mark.parametrize("file", make.FIGURES)
def test_figure(file: str) -> None:
    drawn = (make.ROOT / file).read_text(encoding="utf-8")
    assert drawn == make.FIGURES[file](), "run: python -m docs.make"
