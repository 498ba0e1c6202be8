"""Reading the documentation: code blocks and links of a Markdown page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The content of every fenced block in that language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def under(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    level = heading.split()[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert found is not None, f"no heading {heading!r}"
    return found[1]


def links(text: str) -> list[str]:
    """Targets of links to files of the tree, without anchors."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    return [t for t in targets if not re.match(r"[a-z]+:", t)]


def scripts(text: str) -> list[tuple[str, str | None]]:
    """Every Python block, with the `text` block right behind it: what it prints."""
    found = re.findall(
        r"^```python\n(.*?)^```$(?:\n\n(?:<!-- begin \w+ -->\n)?```text\n(.*?)^```$)?",
        text,
        re.DOTALL | re.MULTILINE,
    )
    return [(code, shown or None) for code, shown in found]


def words(text: str) -> str:
    """On one line, however it was wrapped."""
    return " ".join(text.split())


def pattern(text: str) -> str:
    """Of what a page shows; `...` stands for anything."""
    return ".*?".join(re.escape(part) for part in words(text).split("..."))
