"""What is a number where people give one: NumPy's too, True and words not."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from minidl.ir.errors import ArgumentError


def is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_between(value: Any, least: float, most: float = math.inf) -> bool:
    """Whether it is a finite number in [least, most]."""
    return is_real(value) and least <= value <= most


SEEDS = 2**64


def seed_of(value: Any, what: str = "seed") -> int:
    """A seed as it was given: each whole number in [0, 2^64) has random numbers of its own."""
    if not is_whole(value) or not 0 <= value < SEEDS:
        raise ArgumentError(f"{what} must be a whole number in [0, 2^64), got {value!r}")
    return int(value)
