"""docs/performance.md from what runs on GPUs have left: `python -m benchmarks.gpu.report`.

Results lie in benchmarks/results/<card or date>/.../rows.jsonl, as `python -m benchmarks.gpu` wrote
them. Of each case on each card the newest row counts. What has no result is said to be not
measured; predictions stand beside measurements alone, and what ran without a GPU is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import accuracy
from benchmarks.gpu import report_tables as tables
from benchmarks.gpu.commands import PARTS
from benchmarks.gpu.environment import NO_GPU
from benchmarks.gpu.rows import ENVIRONMENT, PLACE, ROWS, Row, Tail, with_facts

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
MISSING = "Not measured yet: no GPU was at hand.\n"

HEAD = """# Performance on a GPU

Made by `python -m benchmarks.gpu.report` from what lies under `benchmarks/results`. What is
predicted is called so, and stands beside what was measured: [how](roofline.md). On a machine with
an NVIDIA GPU of compute capability 8.0 or newer `python -m benchmarks.gpu` measures, minutes at a
time: see [its page](../benchmarks/gpu/README.md). Put what came back into
`benchmarks/results/<card>/<date>` and run the report again. Of each case on each card the newest
row counts. Times on the CPU device are in [benchmarks/results/cpu](../benchmarks/results/cpu).
"""


def page(results: Path = RESULTS) -> str:
    newest = Newest(results)
    sections, told = [HEAD, newest.places()], list[Row]()
    for title, parts, table in tables.SECTIONS:
        rows = newest.of(*parts)
        text = table(rows) if rows else ""
        anew = [row for row in rows if not any(row is other for other in told)]
        sections += [f"## {title}\n", (text or MISSING) + tables.faults(anew)]
        told += anew
    return "\n".join(filter(None, [*sections, accuracy.section(results)]))


class Newest:
    """Of every card, part, phase and case the row that was measured last."""

    def __init__(self, results: Path) -> None:
        self.rows: dict[tuple[Any, ...], Row] = {}
        for row in sorted(_all(results), key=lambda row: row["facts"].get("date", "")):
            card = row["facts"].get("card")
            if card not in (None, NO_GPU):
                self.rows[card, row["part"], row["phase"], row["case"]] = row

    def of(self, *parts: str) -> list[Row]:
        """Rows of some parts but for their environments, one network's on all cards together."""
        modules = {PARTS[part][0] for part in parts}
        found = [
            row
            for row in self.rows.values()
            if row["part"] in modules and row["phase"] not in (ENVIRONMENT, "compile")
        ]
        cases = {case: i for i, case in enumerate(dict.fromkeys(row["case"] for row in found))}
        return sorted(found, key=lambda row: (cases[row["case"]], row["facts"]["card"]))

    def places(self) -> str:
        """Where it was measured: a line for each card and what was installed."""
        keys = ("card", "date", "commit", "driver", "NVRTC", "cupy-cuda12x", "cupy-cuda13x")
        keys = (*keys, "torch", "planned for")
        seen = {
            tuple(row["facts"].get(key) for key in (*PLACE, "date")): row["facts"]
            for row in self.rows.values()
            if row["phase"] != ENVIRONMENT
        }
        lines = [[facts.get(key) for key in keys] for facts in seen.values()]
        return tables.markdown(list(keys), sorted(lines, key=str)) if lines else ""


def _all(results: Path) -> Iterator[Row]:
    """The rows of all runs with the facts of where they were measured, oldest files first."""
    for path in sorted(results.rglob(ROWS)):
        yield from with_facts(Tail(path).new())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
