"""Launches of local response normalization."""

from __future__ import annotations

import numpy as np

from minidl.ir import Op
from minidl.ops import lrn as ops
from minidl.ops.cuda.launch import Address, CppFile, Launch, int32, ints
from minidl.ops.cuda.operands import ctype
from minidl.ops.cuda.rules import rule

FILE = CppFile("lrn.cu")


LRN_ELEMENTS = 2048
"""Elements of a block's pixels, about."""


@rule(ops.lrn_forward, ops.lrn_dgrad, file=FILE)
def lrn(op: Op) -> list[Launch]:
    a, channels = op.attributes, op.writes[0].shape[-1]
    pixels = op.writes[0].size // channels
    share = max(1, LRN_ELEMENTS // channels)
    response = (
        *ints(channels, a["size"]),
        *(np.float32(v) for v in (a["alpha"] / a["size"], a["beta"], a["k"])),
    )
    tensors = (*op.writes, *op.reads)
    arguments = (*(Address(t) for t in tensors), np.int64(pixels), int32(share), response)
    shared = share * channels * 4 * (1 if op.function is ops.lrn_forward else 3)
    kernel = f"{op.function.__name__}<{ctype(op.writes[0])}>"
    return [Launch(kernel, FILE, (-(-pixels // share), 1, 1), 256, arguments, shared)]
