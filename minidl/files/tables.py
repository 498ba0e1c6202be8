"""Tables as CSV, RFC 4180: UTF-8, lines that end in CR LF, None as an empty field.

Words come from strangers, and a spreadsheet runs those that begin as formulas do: they are written
with an apostrophe in front, numbers as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from minidl.files.atomic import append_line, write_text
from minidl.files.opening import read_bytes

Fields = Sequence[object]


def write_table(path: str | Path, rows: Iterable[Fields]) -> None:
    """Write rows, the header among them, whole or not at all."""
    write_text(path, "".join(map(_line, rows)))


def table_text(rows: Iterable[Fields], end: str = "\n") -> str:
    """Rows as a stream has them, which knows its own ends of lines."""
    return "".join(_line(row, end) for row in rows)


def runs(word: str) -> bool:
    """Whether a spreadsheet would take a word for a formula; a number is none."""
    if not word.startswith(FORMULA):
        return False
    try:
        float(word)
    except ValueError:
        return True
    return False


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, also in full width, as OWASP's page on CSV injection has it."""


def append_row(path: str | Path, row: Fields) -> None:
    """Add a row to a table that grows while a run goes on."""
    append_line(path, _line(row))


def read_rows(path: str | Path, kinds: Sequence[Callable[[str], object]]) -> Iterator[list[str]]:
    """The rows of a table of numbers, each by itself, so that damage costs the rows that it is in:
    those are yielded empty that are no text, have another number of fields, or a field that its
    kind, `int` or `float`, refuses. The header is passed over. Errors as `open_file`."""
    header, *lines = read_bytes(path).split(b"\n")
    if _numbers(header, kinds):  # the header is what is damaged
        lines = [header, *lines]
    yield from (_numbers(line, kinds) for line in lines if line)


def _numbers(line: bytes, kinds: Sequence[Callable[[str], object]]) -> list[str]:
    """The fields of a line that ends as rows do; none where it is damaged."""
    try:
        fields = line.decode("ascii").split(",")
        fields[-1] = fields[-1].removesuffix("\r")
        for kind, field in zip(kinds, fields, strict=True):
            kind(field)
    except ValueError:
        return []
    return fields if line.endswith(b"\r") else []


def _line(row: Fields, end: str = "\r\n") -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator=end).writerow(map(_field, row))
    return out.getvalue()


def _field(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and runs(value) else value
