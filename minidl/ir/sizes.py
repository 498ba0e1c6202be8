"""Byte counts as people write and read them."""

from __future__ import annotations

import re
from fractions import Fraction

from minidl.ir.errors import ArgumentError
from minidl.ir.quantities import format_size, mib

__all__ = ["format_size", "mib", "parse_size"]

_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _UNITS |= {f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}

_LONGEST = 40
"""Characters."""

_PATTERN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_size(text: str | int) -> int:
    """Bytes in `12GiB`, `800MiB`, `1.5GB` or a plain number; ArgumentError for anything else."""
    if isinstance(text, int):
        return text
    match = _PATTERN.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or match[2].lower() not in _UNITS:
        said = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        raise ArgumentError(f"{said!r} is not a size", "write for example 12GiB, 800MiB or 1.5GB")
    size = int(Fraction(match[1]) * _UNITS[match[2].lower()])
    if size >= 2**63:
        raise ArgumentError(f"{text!r} is not a size: no memory has 2^63 bytes")
    return size
