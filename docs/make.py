"""Regenerate every computed table and image of the documentation: `python -m docs.make`.

With the ends of names, those of some pages: `python -m docs.make cli.md keywords.py`.

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; tests/docs compares all.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from docs import cards, commands, examples, larger, measured, names, review, sizes
from docs.fujitsu import fujitsu
from docs.plans import planned
from minidl.keywords import settings_text
from minidl.options import Options
from minidl.report.svg import plan_svg

ROOT = Path(__file__).parent.parent

TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("README.md", "memory"): sizes.MEMORY,
    ("docs/memory.md", "ablation"): sizes.ABLATION,
    ("docs/memory.md", "lower"): sizes.LOWER,
    ("docs/memory.md", "scratch tensors"): sizes.SCRATCH,
    ("docs/memory.md", "scratch"): sizes.scratch,
    ("docs/decisions/0004-fujitsu2016-as-built.md", "fujitsu"): fujitsu,
    ("docs/architecture.md", "naive ops"): lambda: examples.tiny_ops("naive"),
    ("docs/architecture.md", "arena ops"): lambda: examples.tiny_ops("arena"),
    ("docs/tutorial.md", "plan"): examples.tutorial_table,
    ("docs/tutorial.md", "summary"): examples.tutorial_summary,
    ("docs/tutorial.md", "budget"): examples.tutorial_budget,
    ("docs/cards.md", "cards"): cards.cards_table,
    ("docs/cards.md", "card sources"): cards.card_sources,
    **larger.TABLES,
    **commands.TABLES,
    **names.TABLES,
    **measured.TABLES,
    **review.TABLES,
}


def figure(memory: str) -> str:
    return plan_svg(planned("vgg16", 128, memory=memory))


def keywords() -> str:
    """The module of keywords, its last lines made anew."""
    text = (ROOT / "minidl/keywords.py").read_text(encoding="utf-8")
    mark = 'each function\'s own."""\n\n'
    return text[: text.index(mark)] + mark + settings_text(Options)


FIGURES: dict[str, Callable[[], str]] = {
    "docs/images/vgg16_arena.svg": lambda: figure("arena"),
    "docs/images/vgg16_naive.svg": lambda: figure("naive"),
    "minidl/keywords.py": keywords,
}
"""Images, and a module whose lists a class has."""


def section(text: str, name: str) -> str:
    """What stands between the marks of `name`."""
    found = re.findall(f"<!-- begin {name} -->\n(.*?)<!-- end {name} -->", text, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"{len(found)} sections {name!r} instead of one")
    return str(found[0]).rstrip("\n")


def main(pages: Sequence[str]) -> None:
    """All of it, or what is on some pages, by their names' ends: cli.md, keywords.py."""
    tables = {key: made for key, made in TABLES.items() if _is_asked(key[0], pages)}
    figures = {file: drawn for file, drawn in FIGURES.items() if _is_asked(file, pages)}
    for (file, name), compute in tables.items():
        path = ROOT / file
        text = path.read_text(encoding="utf-8")
        section(text, name)
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        head, _, rest = text.partition(begin)
        tail = rest.partition(end)[2]
        path.write_text(f"{head}{begin}{compute()}\n{end}{tail}", "utf-8")
    for file, draw in figures.items():
        (ROOT / file).write_text(draw(), encoding="utf-8")
    print(f"{len(tables)} tables and {len(figures)} files")


def _is_asked(file: str, pages: Sequence[str]) -> bool:
    return not pages or file.endswith(tuple(pages))


if __name__ == "__main__":
    main(sys.argv[1:])
