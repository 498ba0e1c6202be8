"""bfloat16 on the host: the upper 16 bits of a float32, which NumPy has no type for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def to_bfloat16(values: ArrayLike) -> NDArray[np.uint16]:
    """Rounded to nearest, ties to even; NaN stays NaN."""
    single = np.asarray(values, np.float32)
    bits = single.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(single), 0x7FFF, rounded).astype(np.uint16)


def from_bfloat16(bits: NDArray[Any]) -> NDArray[np.float32]:
    """Exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
