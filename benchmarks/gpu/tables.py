"""What the tables of all parts have in common: where it ran, how it went, every fault by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.gpu.rows import FAULTS, LEFT_OUT, PASSED, Row

MOST = 25
"""Lines of each phase below FAULTS and LEFT OUT; rows.jsonl has all."""


def whole(rows: list[Row], sections: Iterable[str]) -> str:
    """A part's table: its sections, with the environment in front and the faults behind."""
    known = [row for row in rows if "case" in row]
    parts = [environment(known), *sections, counts(rows)]
    parts += [listed(known, FAULTS, "FAULTS"), listed(known, (LEFT_OUT,), "LEFT OUT")]
    return "\n".join(part for part in parts if part) + "\n"


def of_phase(rows: list[Row], phase: str, result: str = PASSED) -> list[Row]:
    return [row for row in rows if row["phase"] == phase and row["result"] == result]


def counts(rows: list[Row]) -> str:
    """A line a phase: how many cases there were to be, and what became of them."""
    lines = ["CASES"]
    for phase in dict.fromkeys(row["phase"] for row in rows):
        mine = [row for row in rows if row["phase"] == phase]
        results = [row["result"] for row in mine if "case" in row]
        found = [f"{results.count(r)} {r}" for r in dict.fromkeys((PASSED, *results))]
        expected = next((f" of {row['expected']}" for row in mine if "expected" in row), "")
        lines.append(f"  {phase}: {', '.join(found)}{expected}")
    return "\n".join(lines)


def listed(rows: list[Row], results: tuple[str, ...], title: str) -> str:
    found = [row for row in rows if row["result"] in results]
    lines = [f"{title} {len(found)}"]
    for phase in dict.fromkeys(row["phase"] for row in found):
        mine = [row for row in found if row["phase"] == phase]
        for row in mine[:MOST]:
            lines.append(f"  {phase}: {row['case']}: {row['result']}: {row.get('why', '')}")
        lines += [f"  {phase}: and {len(mine) - MOST} more"] if len(mine) > MOST else []
    return "\n".join(lines)


def environment(rows: list[Row]) -> str:
    lines = ["ENVIRONMENT"]
    for row in rows:
        for name, value in row.get("facts", {}).items():
            lines.append(f"  {name}: {', '.join(value) if isinstance(value, list) else value}")
    return "\n".join(lines)


def number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def ratio(value: float | None, of: float | None) -> str:
    """How often the second fits into the first."""
    return "-" if value is None or not of else f"{value / of:.2f}"


def aligned(lines: list[tuple[Any, ...]]) -> str:
    """Cells below each other: the first and last column to the left, the others to the right."""
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))]

    def text(line: tuple[Any, ...]) -> str:
        cells = [f"{cell!s:>{width}}" for cell, width in zip(line, widths, strict=True)]
        return "  ".join([f"{line[0]!s:<{widths[0]}}", *cells[1:]]).rstrip()

    return "\n".join(map(text, lines))
