"""What objects print in a notebook, a debugger or a traceback: bounded, and never an error."""

from __future__ import annotations

import builtins
import reprlib
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Any

SHOWN = 40
"""Rows of a table at most; of more those at both ends are shown."""
LONGEST = 32
"""Characters of a cell; of a longer one the end is shown."""


def never_raises(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """A `__repr__` that says the class of what it cannot print: an object that is half made, say,
    in the traceback of what went wrong while it was."""

    @wraps(text)
    def read(self: Any) -> str:
        try:
            return text(self)
        except Exception:  # whatever it was, printing is no place to hear of it
            return object.__repr__(self)

    return read


class _Words(reprlib.Repr):
    """An object within an error's line: as it calls itself in brief, or by its class."""

    def repr_instance(self, x: Any, level: int) -> str:
        brief = getattr(type(x), "brief", None)
        text = brief(x) if brief is not None else builtins.repr(x)
        if len(text) > self.maxother and (text.startswith("<") or "\n" in text):
            return f"<{type(x).__name__}>"
        return super().repr_instance(_Said(text), level)


class _Said(str):
    """Text that is its own repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


in_words: Callable[[object], str] = _Words().repr
"""A value as an error repeats it: not much longer than 30 characters, lists cut."""


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """A table as text: a line a row, SHOWN at most; right: columns of figures."""
    shown, gap = [[end_of(cell) for cell in row] for row in _ends(rows)], ""
    if len(shown) < len(rows):
        half = len(shown) // 2
        gap = f"... {len(rows) - len(shown):,} more ..."
    widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *shown)
    ]
    if gap:
        lines.insert(1 + half, gap)
    return "\n".join(lines)


def _ends(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    if len(rows) <= SHOWN:
        return list(rows)
    return [*rows[: SHOWN // 2], *rows[-(SHOWN // 2) :]]


def end_of(text: str, most: int = LONGEST) -> str:
    """The text, or its end where it is longer."""
    return text if len(text) <= most else "..." + text[3 - most :]


def beside(layer: str, other: str) -> str:
    """The name of `other` without what both begin with, as people call a neighbour."""
    here, there = layer.split("."), other.split(".")
    while len(there) > 1 and here[0] == there[0]:
        here, there = here[1:], there[1:]
    return ".".join(there)


def fields_of(value: Any) -> str:
    """What an object has that is a number, a word or a shape, as arguments: `p=0.5, side=32`."""
    plain = (bool, int, float, str, tuple, type(None))
    named = [(k, v) for k, v in vars(value).items() if not k.startswith("_")]
    shown = [f"{k}={v!r}" for k, v in named if isinstance(v, plain) and len(repr(v)) <= LONGEST]
    return ", ".join(shown)
