"""What is shown while a plan is searched for."""

from __future__ import annotations

from minidl.console import ERRORS
from minidl.train.progress import someone_looks


def told(phrase: str, share: float) -> None:
    """What is being done and how much of it is done, on the last line of a terminal; nothing where
    nobody looks. At the end, a share of 1, the line is taken away."""
    if someone_looks():
        line = f"{phrase} {100 * share:3.0f} %" if share < 1 else ""
        ERRORS.write(f"\r\x1b[2K{line}")
        ERRORS.flush()
