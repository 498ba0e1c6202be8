"""What the readers of weights share: words of an error, 16-bit floats as float32."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array
from minidl.ir.bfloat16 import from_bfloat16

LONGEST = 80
"""Characters of a file's own words that an error repeats."""


def shown(word: object) -> str:
    """Text out of a file, as an error may repeat it: on one line, not too long."""
    text = word if isinstance(word, str) else type(word).__name__
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def is_count(value: object) -> bool:
    """Whether it is a whole number in [0, 2^63); True and False are none."""
    return type(value) is int and 0 <= value < 2**63


def widened(array: Array, bfloat16: bool = False) -> Array:
    """float16 as float32; with `bfloat16` the 16 bits of each element likewise. Exact."""
    if bfloat16:
        return from_bfloat16(array)
    return array.astype(np.float32) if array.dtype == np.float16 else array
