"""Bytes that some work holds, as Python's allocator counts them, NumPy's arrays among them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def bytes_of(work: Callable[[], object]) -> int:
    """The most that it has in memory at once, above what there was."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
