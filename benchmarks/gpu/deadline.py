"""A part of the measurements stops in time, and says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class Deadline:
    """Seconds from now after which no new case starts."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        return time.monotonic() > self.end


def cases_in_time(
    cases: Iterable[tuple[Callable[..., Any], int, str]],
    deadline: Deadline,
    rows: list[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], Callable[..., Any], int, str]]:
    """A new row for each (model, batch, precision), and, while there is time, the case with it."""
    for build, batch, precision in cases:
        row = {"model": build.__name__, "batch": batch, "precision": precision}
        rows.append(row)
        if deadline.passed:
            row["left out"] = "no time"
        else:
            yield row, build, batch, precision
