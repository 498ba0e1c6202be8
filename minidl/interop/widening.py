"""Weights in fewer bits as float32: what minidl computes with."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array
from minidl.ir.bfloat16 import from_bfloat16


def widened(array: Array, bfloat16: bool = False) -> Array:
    """float16 as float32; with `bfloat16` the 16 bits of each element likewise. Exact."""
    if bfloat16:
        return from_bfloat16(array)
    return array.astype(np.float32) if array.dtype == np.float16 else array
