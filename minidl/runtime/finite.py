"""What is said where weights that are loaded hold a NaN or an infinity."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minidl.ir import Array

TOLD = 3
"""Names that one warning lists."""


def warn_not_finite(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """A RuntimeWarning that names the file and the arrays with a NaN or an infinity in them, if
    there are any: they are loaded as they are."""
    wrong = [name for name, array in arrays.items() if not _is_finite(array)]
    if wrong:
        more = f" and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
        warnings.warn(
            f"{path}: NaN or infinity in {', '.join(wrong[:TOLD])}{more}: what is computed with "
            "them is of no use",
            RuntimeWarning,
            stacklevel=4,  # of who called what checks its call: see minidl.ir.calls
        )


def _is_finite(array: Array) -> bool:
    """Its least and largest element say so, a NaN is both."""
    if array.dtype.kind != "f" or not array.size:
        return True
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))
