"""A part of what there is to check, another one in every session.

What takes minutes as a whole is looked at over several sessions: `MINIDL_TEST_ALL=1` checks all of
it in one, `MINIDL_TEST_SEED` repeats a part.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

from tests.layers.harness import SEED

T = TypeVar("T")


def drawn(items: Sequence[T], parts: int, part: int = 0) -> list[T]:
    """About one of `parts` of the items, at least one, in their order; other values of `part` have
    the others."""
    if everything():
        return list(items)
    print(f"MINIDL_TEST_SEED={SEED}")  # pytest shows it where a check fails
    places = list(range(len(items)))
    random.Random(SEED).shuffle(places)
    return [items[i] for i in sorted(places[part % parts :: parts] or places[:1])]


def everything() -> bool:
    """Whether all is asked for."""
    return bool(os.environ.get("MINIDL_TEST_ALL"))
