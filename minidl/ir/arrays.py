"""Arrays where people give them: NumPy's, lists of numbers, and tensors of other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.ir.readers import Reader, UnfitError

_ma: Any = np.ma


def detached(value: Any) -> Any:
    """A tensor as NumPy can read it: a parameter without its gradient's history, and bfloat16,
    which NumPy has not, as float32. Anything else is itself."""
    if isinstance(value, np.ndarray) or not callable(detach := getattr(value, "detach", None)):
        return value
    value = detach()
    return value.float() if str(getattr(value, "dtype", "")).endswith("bfloat16") else value


def require_unmasked(**values: Any) -> None:
    """ArgumentError for an array, or a list of arrays, with masked elements."""
    require_all_unmasked(values)


def require_all_unmasked(values: Mapping[str, Any]) -> None:
    """The same of arrays by name."""
    for name, value in values.items():
        UNMASKED.take(value, name)


def _unmasked(value: Any) -> Any:
    """The numbers below a mask would be taken for what was given."""
    parts = value if isinstance(value, (list, tuple)) else (value,)
    if count := sum(int(_ma.count_masked(p)) for p in parts if _ma.is_masked(p)):
        raise UnfitError(
            f"{count:,} masked elements, and a mask has no place here",
            "give array.filled(value), or leave out the samples that have masked elements",
        )
    return value


def _array(value: Any) -> Any:
    """The array itself where it has a shape and a dtype, on whatever device."""
    value = _unmasked(detached(value))
    try:
        if isinstance(value, (list, tuple)):
            value = np.asarray(_unmasked([detached(item) for item in value]))
        elif hasattr(value, "detach"):
            value = np.asarray(value)
        numbers = np.dtype(str(value.dtype)).kind in "biuf" and len(value.shape) > 0
    except (AttributeError, TypeError, ValueError, RuntimeError):
        raise UnfitError from None
    if not numbers:
        raise UnfitError
    return value


def _arrays(value: Any) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise UnfitError
    for name, array in value.items():
        try:
            _unmasked(array)
        except UnfitError as unfit:
            raise UnfitError(f"{name}: {unfit.said}", unfit.hint) from None
    return {name: detached(array) for name, array in value.items()}


DTYPES = ("bfloat16", "float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")


def _dtype(value: Any) -> str:
    """Its name; PyTorch's types have it behind the dot."""
    named = isinstance(value, (str, np.dtype)) or str(value).startswith("torch.")
    scalar = isinstance(value, type) and issubclass(value, np.generic)
    name = value.__name__ if scalar else str(value).rpartition(".")[2] if named else ""
    if name not in DTYPES:
        raise UnfitError
    return name


DTYPE = Reader(f"a dtype, one of {', '.join(DTYPES)}", _dtype)
UNMASKED = Reader("an array without a mask", _unmasked)
ARRAY = Reader("an array of numbers", _array)
ARRAYS = Reader("arrays by name", _arrays)
