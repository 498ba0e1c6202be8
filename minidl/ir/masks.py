"""Arrays of which a part does not count: NumPy's masked ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.ir.errors import ArgumentError

_ma: Any = np.ma


def require_unmasked(**values: Any) -> None:
    """ArgumentError for an array, or a list of arrays, with masked elements: the numbers below a
    mask would be taken for what was given."""
    require_all_unmasked(values)


def require_all_unmasked(values: Mapping[str, Any]) -> None:
    """The same of arrays by name."""
    for name, value in values.items():
        parts = value if isinstance(value, (list, tuple)) else (value,)
        if count := sum(int(_ma.count_masked(p)) for p in parts if _ma.is_masked(p)):
            raise ArgumentError(
                f"{name}: {count:,} masked elements, and a mask has no place here",
                "give array.filled(value), or leave out the samples that have masked elements",
            )
