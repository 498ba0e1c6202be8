"""Results as they come: one JSON line a case, whole lines even from several processes at once.

A line is one of
  {"part", "phase", "worker", "begin": case, "silence": seconds}   a case begins
  {"part", "phase", "worker", "case", "result", "why", "s", ...}   and is known
  {"part", "phase", "worker", "expected": cases}                   how many there are to be
"""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

ROWS, ERRORS, LOG, TABLE = "rows.jsonl", "errors.txt", "log.txt", "table.txt"
"""All the files of a results folder, whichever parts ran."""
LARGEST = 15 * 2**20
"""Bytes of a file of results, a little below what may be sent back from a rented machine."""
LONGEST = 256 * 1024
"""Bytes of one line, beyond which its longest fields are left out."""

PASSED = "passed"
FAULTS = ("wrong", "failed", "hung", "died", "sticky")
"""Numbers that are not right; an exception; silence; the process ended; a CUDA context past use."""
LEFT_OUT = "left out"
ENVIRONMENT, MACHINE = "environment", "machine"
"""The phase that a run begins with, and its first case."""
PLACE = ("commit", "card", "driver", "NVRTC")
"""Facts of the environment without which a number says nothing."""


def append(path: Path, text: str) -> bool:
    """Add to a file with one write; False, and nothing added, where it would become too large."""
    data = text.encode()
    with path.open("ab") as file:
        if file.tell() + len(data) > LARGEST:
            return False
        os.write(file.fileno(), data)
    return True


def note(out: Path, row: Row) -> bool:
    """Add a row; one that is too long loses its longest fields and says so."""
    line = json.dumps(row)
    while len(line) > LONGEST:
        longest = max(row, key=lambda name: len(json.dumps(row[name])))
        row = {name: value for name, value in row.items() if name != longest}
        row["cut"] = [*row.get("cut", ()), longest]
        line = json.dumps(row)
    return append(out / ROWS, line + "\n")


def error(out: Path, where: str) -> str:
    """Keep the traceback of the exception being handled; what it says, short."""
    text = traceback.format_exc().strip()
    append(out / ERRORS, f"==== {where}\n{text[-6000:]}\n\n")
    return short(text)


def short(text: str) -> str:
    """Of a traceback: the first line of what was raised, and a compiler's first error in it."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line and not line[0].isspace()]
    raised = [i for i in starts if not lines[i].startswith(("Traceback", "The above", "During"))]
    if not raised:
        return ""
    first, *rest = lines[raised[0] :]
    compilers = [line.strip() for line in rest if re.search(r"\berror\b", line)]
    return " | ".join([first[:240], *(line[:160] for line in compilers[:1])])


class Tail:
    """The rows that were added to a file since the last look, from byte `start` on."""

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path, self.at, self.rest = path, start, b""

    def new(self) -> list[Row]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.at)
            data = file.read()
        self.at += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [row for line in lines if (row := _row(line)) is not None]


def _row(line: bytes) -> Row | None:
    """A line as a row; None for what a dying process left."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def with_facts(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of cases, each with the facts of the environment that it was measured in: each run
    begins with those."""
    facts: Row = {}
    for row in rows:
        if row.get("phase") == ENVIRONMENT and row.get("case") == MACHINE:
            facts = {}
        facts = facts | row.get("facts", {})
        if "case" in row:
            yield {**row, "facts": facts}


def same_place(here: Row, there: Row) -> bool:
    """Whether two environments are the same as far as a measurement depends on them."""
    if "unknown" in (here.get("commit"), there.get("commit")):
        return False
    return all(name in here and here[name] == there.get(name) for name in PLACE)
