"""One word for one thing: no name, flag or message has a word that was given up; one glossary.

Names are those of Python in minidl, benchmarks and models, and of C++ in kernels; flags are the
strings with a dash that parsers are given; messages are the words of what is raised and printed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import pytest

from minidl.options import Options
from tests.docs.pages import page, under
from tests.messages import text
from tests.test_floors import ROOT

PYTHON = sorted(p for top in ("minidl", "benchmarks", "models") for p in (ROOT / top).rglob("*.py"))
KERNELS = sorted(p for p in (ROOT / "kernels").rglob("*") if p.suffix in (".cu", ".cuh", ".h"))


class Old(NamedTuple):
    """A word that was given up; in what it may not stand, and what is said now."""

    word: str
    kinds: tuple[str, ...]
    now: str


EVERYWHERE = ("name", "flag", "message")
OLD = (
    Old("picture", EVERYWHERE, "image, or drawing"),
    Old("pitched", EVERYWHERE, "strided"),
    Old("again", ("name", "flag"), "recompute, of an op; what else it is by its own name"),
    Old("without", ("option", "flag"), "disable_passes"),
    Old("holding plan", EVERYWHERE, "accumulation plan"),
)


def parts(name: str) -> str:
    """The words of a name: `bothImages_of2` is ` both images of 2 `."""
    return " ".join(["", *re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name), ""]).lower()


def said_in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Kind and words of each name, flag and message of a module."""
    for node in ast.walk(tree):
        for kind in ("id", "attr", "name", "arg", "asname"):
            name = getattr(node, kind, None)
            if isinstance(name, str):
                yield "name", parts(name)
        if isinstance(node, ast.Call):
            words = [a.value for a in node.args if isinstance(a, ast.Constant)]
            yield from (("flag", parts(w)) for w in words if re.match(r"--?[a-z]", str(w)))
        if isinstance(node, ast.Raise) or printing(node):
            said = (text(part) for part in ast.walk(node) if isinstance(part, ast.expr))
            yield from (("message", parts(words)) for words in said)


PRINTERS = ("print", "result", "say", "tell", "warn")


def printing(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in PRINTERS


def in_kernel(source: str) -> Iterator[tuple[str, str]]:
    """Each name of a C++ file, without comments and strings."""
    code = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', " ", source, flags=re.DOTALL)
    yield from (("name", parts(name)) for name in re.findall(r"[A-Za-z_]\w*", code))


def said_by(path: Path) -> set[tuple[str, str]]:
    source = path.read_text(encoding="utf-8")
    return set(said_in(ast.parse(source)) if path.suffix == ".py" else in_kernel(source))


def old_words(said: set[tuple[str, str]]) -> set[str]:
    """What of it has a word that was given up: the kind, the words, and what is said now."""
    return {
        f"{kind} {words.strip()!r}: {old.now}"
        for kind, words in said
        for old in OLD
        if kind in old.kinds and re.search(rf" {old.word}s? ", words)
    }


@pytest.mark.parametrize("path", [*PYTHON, *KERNELS], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_old_word(path: Path) -> None:
    assert old_words(said_by(path)) == set()


def test_no_option_has_an_old_word() -> None:
    assert old_words({("option", parts(f.name)) for f in fields(Options)}) == set()


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("pictures_of = 1", "name"),
        ("def f(is_pitched): pass", "name"),
        ("class HoldingPlan: pass", "name"),
        ("x.again()", "name"),
        ("f(read_again=1)", "name"),
        ("parser.add_argument('--without')", "flag"),
        ("raise ShapeError(f'{x}: no picture')", "message"),
        ("raise error.at(f'the holding plan of {x}') from None", "message"),
        ("print('it is pitched')", "message"),
    ],
)
def test_an_old_word_in_python_is_seen(source: str, kind: str) -> None:
    assert any(kind in found for found in old_words(set(said_in(ast.parse(source)))))


def test_an_old_word_in_a_kernel_is_seen() -> None:
    source = '// a picture\n/* pitched */ "picture" int pictureSide(int n);'
    assert old_words(set(in_kernel(source))) == {"name 'picture side': image, or drawing"}


def test_prose_may_run_again() -> None:
    assert old_words(set(said_in(ast.parse("print('read it again, without it')")))) == set()


def rows() -> list[list[str]]:
    lines = under(page("docs/architecture.md"), "## Glossary").splitlines()
    return [line.strip("|").split("|") for line in lines if line.startswith("| ")][1:]


def test_the_glossary_is_one_table_in_order() -> None:
    words = [row[0].strip() for row in rows()]
    assert all(len(row) == 2 and row[1].strip() for row in rows())
    assert words == sorted(set(words), key=str.lower)
    others = [
        p
        for p in ROOT.glob("docs/**/*.md")
        if re.search("^#+ Glossary", p.read_text("utf-8"), re.M)
    ]
    assert others == [ROOT / "docs" / "architecture.md"]
