"""docs/faq.md: every message on it is what the code says today."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import minidl as dl
from minidl.data.decode import pillow
from tests.docs.pages import blocks, page, pattern, under, words
from tests.docs.provoked import CASES

PAGE = page("docs/faq.md")


@pytest.fixture(autouse=True)
def an_empty_folder(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(str(tmp_path))
    yield
    pillow.cache_clear()


def test_every_published_error_is_in_the_table() -> None:
    published = [(name, getattr(dl, name)) for name in dl.__all__]
    errors = {n for n, it in published if isinstance(it, type) and issubclass(it, dl.MinidlError)}
    named = set(re.findall(r"^\| `dl\.(\w+)`", PAGE, re.MULTILINE))
    assert named == errors - {"MinidlError"}


def test_every_section_is_provoked() -> None:
    assert re.findall(r"^### .*$", PAGE, re.MULTILINE) == sorted(
        CASES, key=lambda heading: PAGE.find(heading)
    )
    for heading, cases in CASES.items():
        assert len(blocks(under(PAGE, heading), "text")) == len(cases), heading


@pytest.mark.parametrize(
    ("heading", "number"),
    [(heading, i) for heading, cases in CASES.items() for i in range(len(cases))],
)
def test_the_message_is_that_of_the_page(
    heading: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(dl.MinidlError) as caught:
        CASES[heading][number](monkeypatch)
    monkeypatch.undo()
    said = words(f"{type(caught.value).__name__}: {caught.value}")
    shown = blocks(under(PAGE, heading), "text")[number]
    assert re.fullmatch(pattern(shown), said), f"{heading}\n{said}"


def test_every_class_of_errors_is_named() -> None:
    shown = {message.split(":")[0] for message in blocks(PAGE, "text")}
    assert shown <= set(re.findall(r"^\| `(?:[\w.]+\.)?(\w+Error)` \|", PAGE, re.MULTILINE))
