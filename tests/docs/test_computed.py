"""Tables and pictures of the documentation are what the code computes: see docs/make.py."""

from __future__ import annotations

import pytest

from docs import make


@pytest.mark.parametrize(("file", "name"), make.TABLES, ids=str)
def test_table(file: str, name: str) -> None:
    text = (make.ROOT / file).read_text(encoding="utf-8")
    assert make.section(text, name) == make.TABLES[file, name](), "run: python -m docs.make"


@pytest.mark.parametrize("file", make.FIGURES)
def test_figure(file: str) -> None:
    drawn = (make.ROOT / file).read_text(encoding="utf-8")
    assert drawn == make.FIGURES[file](), "run: python -m docs.make"
