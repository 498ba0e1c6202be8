"""Tables as CSV, RFC 4180: UTF-8, lines that end in CR LF, None as an empty field."""

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


def _line(row: Fields) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(row)
    return out.getvalue()
