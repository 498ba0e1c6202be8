"""A part of the measurements stops in time, and says so."""

from __future__ import annotations

import time


class Deadline:
    """Seconds from now after which no new case starts."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        return time.monotonic() > self.end
