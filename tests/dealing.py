"""The order of tests on several cores: the longest first on each, what belongs together together.

pytest-xdist deals the collected tests out in as many runs as there are workers, one after the
other; who has nothing left takes from another's end, which must not be a long one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

LONGEST = (
    "test_the_whole_of_it",
    "test_nothing_is_found_in_any_case[race-bf16]",
    "test_nothing_is_found_in_any_case[address-bf16]",
    "test_each_part_lists",
    "test_nothing_is_found_in_any_case",
    "test_the_whole_table[docs/memory.md",
    "test_alexnet",
    "test_names_and_shapes[vgg",
    "test_real_model_on_digits",
    "test_the_whole_table",
    "test_nothing_is_found",
    "test_table[",
)
"""Parts of names, the longest test first: halves and whole minutes each."""


def dealt(tests: Sequence[T], name: Callable[[T], str], workers: int) -> list[T]:
    """The tests in the order in which each worker's run begins with its share of the longest."""
    longest = sorted(
        (t for t in tests if _rank(name(t)) < len(LONGEST)), key=lambda t: _rank(name(t))
    )
    others = [t for t in tests if _rank(name(t)) == len(LONGEST)]
    found: list[T] = []
    for worker in range(workers):
        mine = longest[worker::workers]
        size = (len(tests) - len(found)) // (workers - worker)
        room = max(0, size - len(mine))
        found += [*mine, *others[:room]]
        del others[:room]
    return found


def _rank(name: str) -> int:
    return next((i for i, part in enumerate(LONGEST) if part in name), len(LONGEST))
