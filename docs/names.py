"""Tables of docs/names.md: what PyTorch and Keras call something, a line each in docs/names.tsv.

There `dl.Conv2d()` stands for the name with the arguments that the code has, `dl.compile(..., x=1)`
for an example, anything else for itself; `-` for nothing, or for what a memory mode says of itself.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import minidl as dl
from minidl.compiler.modes import MODES
from minidl.train import Trainer

MOST_KEYWORDS = 7
"""Where a function has more that have no place, they are not shown one by one."""


class Row(NamedTuple):
    """A line of the table of names: all but section and names is markdown."""

    section: str
    names: str
    pytorch: str
    keras: str
    differs: str

    def cells(self) -> Iterator[str]:
        """As they stand on the page."""
        yield from (self.pytorch, self.keras)
        yield ", ".join(f"`{with_signature(name)}`" for name in self.names.split("; ") if name)
        mode = re.search(r'memory="(\w+)"', self.names)
        yield self.differs or (MODES[mode[1]].idea if mode else "")


def _rows() -> Iterator[Row]:
    lines = Path(__file__).with_suffix(".tsv").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        yield Row(*("" if cell == "-" else cell for cell in line.split("\t")))


ROWS = tuple(_rows())


def names_table(section: str) -> str:
    """Markdown."""
    rows = [row.cells() for row in ROWS if row.section == section]
    head = ("PyTorch", "Keras", "minidl", "what differs")
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in (head, *rows)]
    return "\n".join([lines[0], "|---|---|---|---|", *lines[1:]])


def with_signature(name: str) -> str:
    """`dl.Dropout()` as `dl.Dropout(p=0.5)`; anything else as it is."""
    if not name.endswith("()"):
        return name
    parameters = inspect.signature(named(name[:-2])).parameters.values()
    placed = [p for p in parameters if p.name != "self" and p.kind < p.KEYWORD_ONLY]
    keywords = [p for p in parameters if p.kind >= p.KEYWORD_ONLY]
    if len(keywords) <= MOST_KEYWORDS:
        by_name = any(p.kind is p.KEYWORD_ONLY for p in keywords)
        star = ["*"] if by_name and not any(p.kind is p.VAR_POSITIONAL for p in placed) else []
        shown = [*map(_parameter, placed), *star, *map(_parameter, keywords)]
    else:
        shown = [*(p.name for p in placed), "..."]
    return f"{name[:-2]}({', '.join(shown)})"


def _parameter(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return str(parameter.replace(annotation=parameter.empty))
    return f"{parameter.name}={_value(parameter.default)}"


def _value(value: Any) -> str:
    """As one would write it: four figures, double quotes, a function by its name."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))})"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        return repr(float(f"{value:.4g}"))
    return str(getattr(value, "__name__", value))


def named(path: str) -> Any:
    """What a dotted name stands for; `step` and `trainer` are any."""
    root, *rest = path.split(".")
    found: Any = {"dl": dl, "minidl": dl, "step": dl.Step, "trainer": Trainer}[root]
    if path == "step":
        return dl.Step.__call__
    for word in rest:
        if inspect.ismodule(found) and not hasattr(found, word):
            found = importlib.import_module(f"{found.__name__}.{word}")
        else:
            found = getattr(found, word)
    return found


TABLES = {
    ("docs/names.md", section): partial(names_table, section)
    for section in dict.fromkeys(row.section for row in ROWS)
}
