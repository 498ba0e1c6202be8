"""Tables as CSV, RFC 4180: UTF-8, lines that end in CR LF, None as an empty field."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minidl.files.atomic import append_line, write_text
from minidl.files.opening import read_text
from minidl.ir import ArgumentError

Fields = Sequence[object]


def write_table(path: str | Path, rows: Iterable[Fields]) -> None:
    """Write rows, the header among them, whole or not at all."""
    write_text(path, "".join(map(_line, rows)))


def append_row(path: str | Path, row: Fields) -> None:
    """Add a row to a table that grows while a run goes on."""
    append_line(path, _line(row))


def read_table(path: str | Path) -> list[dict[Any, Any]]:
    """The rows below the header, by its names; as `csv.DictReader` has them, a row that is too
    short has None as values, one that is too long None as a key. ArgumentError, naming the file,
    where it is no text, or what no table has."""
    try:
        return list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise ArgumentError(f"{path}: no table: {error}") from None


def _line(row: Fields) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(row)
    return out.getvalue()
