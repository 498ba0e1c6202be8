"""What pages, docstrings and comments name exists: files, folders, modules, functions, headings."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, page
from tests.docs.test_pages import PAGES

TOP = "minidl|models|tests|docs|kernels|benchmarks"
PATH = re.compile(rf"(?<![\w/.<-])((?:{TOP})/[\w/.-]+)(?![\w<{{*])")
NAME = re.compile(rf"`((?:{TOP}|dl)(?:\.\w+)+)(?=[`(.\[])|python -m ((?:{TOP})(?:\.\w+)*)")

NOT_THERE = {
    "minidl/layers/scale.py",
    "minidl/ops/scale.py",
    "minidl/ops/cuda/scale.py",
    "kernels/scale.cu",
    "tests/layers/test_scale.py",
    "minidl.layers.scale",
    "minidl/kernels",
}
"""What docs/adding_a_layer.md tells its reader to write; where the wheel has the kernels."""

PAST = "CHANGELOG.md"
"""Names what was there before, too."""

SOURCES = sorted(
    str(path.relative_to(ROOT)) for top in TOP.split("|") for path in (ROOT / top).rglob("*.py")
)


def notes(name: str) -> Iterator[str]:
    """Docstrings and comments of a file, line breaks kept."""
    path = ROOT / name
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value)
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.string


def paths_in(text: str) -> set[str]:
    """Paths that begin in a folder of the tree; a full stop behind one is none of it."""
    return {found.rstrip("./") for found in PATH.findall(text)}


def names_in(text: str) -> set[str]:
    """Dotted names in quotes, or behind `python -m`."""
    return {quoted or run for quoted, run in NAME.findall(text)}


def is_there(path: str) -> bool:
    return (ROOT / path).exists() or (ROOT / f"{path}.py").exists()


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or found in one. `dl` is minidl."""
    words = (
        name.replace("dl", "minidl", 1).split(".") if name.startswith("dl.") else name.split(".")
    )
    for count in range(len(words), 0, -1):
        module, rest = ".".join(words[:count]), words[count:]
        if is_module(module):
            return not rest or holds(module, rest)
    return False


def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def holds(module: str, words: list[str]) -> bool:
    found: object = importlib.import_module(module)
    for word in words:
        fields = getattr(found, "__dataclass_fields__", {})
        if not hasattr(found, word):
            return words[-1] == word and word in fields
        found = getattr(found, word)
    return True


def missing_in(text: str) -> set[str]:
    """What a text names and is not there."""
    missing = {path for path in paths_in(text) - NOT_THERE if not is_there(path)}
    return missing | {found for found in names_in(text) - NOT_THERE if not exists(found)}


def test_a_note_that_names_nothing_is_seen(tmp_path: Path) -> None:
    code = '# as tests/nowhere.py\ndef f():\n    "see `minidl.nothing`"\n'
    path = tmp_path / "code.py"
    path.write_text(f"{code}x = 'minidl/not_meant.py'\n")
    assert missing_in("\n".join(notes(str(path)))) == {"tests/nowhere.py", "minidl.nothing"}


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_names_exists(name: str) -> None:
    text = page(name)
    missing = {path for path in paths_in(text) - NOT_THERE if not is_there(path)}
    if name != PAST:
        missing |= {found for found in names_in(text) - NOT_THERE if not exists(found)}
    assert missing == set()


@pytest.mark.parametrize("name", SOURCES)
def test_what_a_source_names_exists(name: str) -> None:
    whole = (ROOT / name).read_text(encoding="utf-8")
    if missing_in(whole):  # which code may name; taking the notes out takes long
        assert missing_in("\n".join(notes(name))) == set()


def anchors(text: str) -> set[str]:
    """Of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_to_headings_lead_to_one(name: str) -> None:
    links = re.findall(r"\]\(((?![a-z]+:)[^)#\s]*)#([^)\s]+)\)", page(name))
    folder = (ROOT / name).parent
    for target, anchor in links:
        there = folder / target if target else ROOT / name
        assert anchor in anchors(there.read_text(encoding="utf-8")), f"{target}#{anchor}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see minidl/gone.py.", {"minidl/gone.py"}),
        ("`kernels/gone.cuh`", {"kernels/gone.cuh"}),
        ("in `minidl.gone.function`", {"minidl.gone.function"}),
        ("`minidl.front.gone(x)`", {"minidl.front.gone"}),
        ("`dl.Gone`", {"dl.Gone"}),
        ("python -m benchmarks.gone", {"benchmarks.gone"}),
        ("`minidl.front.plan`, `dl.Plan.table`, minidl/front.py, `minidl/ir/`", set()),
    ],
)
def test_what_is_gone_is_seen(text: str, found: set[str]) -> None:
    missing = {path for path in paths_in(text) if not is_there(path)}
    assert missing | {name for name in names_in(text) if not exists(name)} == found
