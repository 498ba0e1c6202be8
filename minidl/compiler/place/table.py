"""Blocks in CSV files with the columns `id,lower,upper,size`, as MiniMalloc's benchmarks have them.

A lifetime is [lower, upper). Solutions have one column more, `offset`; other columns stay.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from minidl.compiler.lifetimes import Lifetime
from minidl.compiler.place.blocks import Block
from minidl.ir import ArgumentError

COLUMNS = ("id", "lower", "upper", "size")
SHOWN = 40
"""Characters of a field."""
LARGEST = 2**62
"""Sums of numbers below it are exact in 64 bits, up to a count that no file reaches."""


@dataclass(frozen=True)
class Table:
    """The rows of a file as they were, and the block that each is."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    blocks: tuple[Block, ...]


def read_table(text: str, name: str) -> Table:
    """The blocks in `text`; ArgumentError names the file, the line and what is wrong there."""
    try:
        return _table(text, name)
    except csv.Error as error:
        raise ArgumentError(f"{name}: no table: {error}") from None


def _table(text: str, name: str) -> Table:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    columns = tuple(column.strip() for column in reader.fieldnames or ())
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise ArgumentError(f"{name}: no column {missing[0]!r}; needed are {','.join(COLUMNS)}")
    if len(set(columns)) != len(columns):
        raise ArgumentError(f"{name}: a column stands twice in {','.join(columns)}")
    reader.fieldnames = list(columns)
    rows, blocks, seen = [], [], dict[str, int]()
    for row in reader:
        where = f"{name}, line {reader.line_num}"
        if None in row or None in row.values():
            raise ArgumentError(f"{where}: {len(columns)} fields are needed, {','.join(columns)}")
        identity = row["id"].strip()
        if identity in seen:
            raise ArgumentError(f"{where}: id {identity!r} stands in line {seen[identity]} already")
        seen[identity] = reader.line_num
        rows.append(row)
        blocks.append(_block(row, where))
    if not rows:
        raise ArgumentError(f"{name}: there is no row below the header")
    return Table(columns, tuple(rows), tuple(blocks))


def _block(row: dict[str, str], where: str) -> Block:
    lower, upper, size = (_number(row[column], column, where) for column in COLUMNS[1:])
    if upper <= lower:
        raise ArgumentError(f"{where}: upper {upper} must be more than lower {lower}")
    return Block(size, Lifetime(lower, upper))


def _number(text: str, column: str, where: str) -> int:
    digits = text.strip()
    if not (digits.lstrip("+-").isascii() and digits.lstrip("+-").isdigit()):
        raise ArgumentError(f"{where}: {column} {_cut(text)!r} is no whole number")
    if len(digits) > len(str(LARGEST)) + 1 or not 0 <= int(digits) < LARGEST:
        raise ArgumentError(f"{where}: {column} must be in [0, 2^62), got {_cut(digits)}")
    return int(digits)


def _cut(text: str) -> str:
    """As much of a field as an error repeats."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def write_table(table: Table, offsets: list[int]) -> str:
    """The rows with their offsets, as text."""
    out = io.StringIO()
    columns = [column for column in table.columns if column != "offset"]
    writer = csv.DictWriter(out, [*columns, "offset"], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row, offset in zip(table.rows, offsets, strict=True):
        writer.writerow({**row, "offset": offset})
    return out.getvalue()
