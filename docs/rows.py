"""Markdown tables whose rows are computed one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Cells = Iterable[str]


@dataclass(frozen=True)
class Rows:
    """A table; calling it computes all of it, `line` one row. A row costs seconds to minutes."""

    head: Cells
    rows: Sequence[Callable[[], Cells]]
    short: Sequence[int] = ()
    """The rows that cost seconds, where others cost minutes."""

    def __call__(self) -> str:
        return table(self.head, (row() for row in self.rows))

    def line(self, i: int) -> str:
        """Row i, from 0, as it stands in the table."""
        return table(self.head, [self.rows[i]()]).splitlines()[2]


def table(head: Cells, rows: Iterable[Cells]) -> str:
    """Markdown; the first column on the left, all others on the right."""
    cells = list(head)
    rule = ["---", *("---:" for _ in cells[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (cells, rule, *map(list, rows)))
