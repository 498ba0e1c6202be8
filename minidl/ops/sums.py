"""Sums of the gradients that several readers of one tensor contribute."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array


def gradient_sum(total: Array, first: Array, second: Array, *more: Array) -> None:
    """total = first + second + ..., from left to right."""
    np.add(first, second, out=total)
    for part in more:
        total += part
