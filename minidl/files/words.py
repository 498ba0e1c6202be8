"""Words and numbers out of a file: how an error may repeat them, and which are counts."""

from __future__ import annotations

import math
from typing import Any

LONGEST = 80
"""Characters of a file's own words that an error repeats."""


def shown(word: object) -> str:
    """Text out of a file, as an error may repeat it: on one line, not too long."""
    text = word if isinstance(word, str) else type(word).__name__
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def is_count(value: object) -> bool:
    """Whether it is a whole number in [0, 2^63); True and False are none."""
    return type(value) is int and 0 <= value < 2**63


MOST_AXES = 32
"""Of a shape: what NumPy 1 can hold."""


def is_shape(value: Any, itemsize: int) -> bool:
    """Whether it is a list or tuple of counts that an array can have: also one without elements is
    refused where the others' product leaves 63 bits."""
    return (
        isinstance(value, (list, tuple))
        and len(value) <= MOST_AXES
        and all(map(is_count, value))
        and math.prod(max(n, 1) for n in value) * max(itemsize, 1) < 2**63
    )
