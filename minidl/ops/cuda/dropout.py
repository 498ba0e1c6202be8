"""Launches of dropout."""

from __future__ import annotations

import math

import numpy as np

from minidl.ir import Op
from minidl.ops import dropout as ops
from minidl.ops.cuda.launch import Address, CppFile, Launch, by_thread
from minidl.ops.cuda.operands import ctype, width_of_vectors
from minidl.ops.cuda.rules import rule

FILE = CppFile("dropout.cu")


@rule(ops.dropout_forward, ops.dropout_dgrad, file=FILE)
def dropout(op: Op) -> list[Launch]:
    (y,), (x, key, step) = op.writes, op.reads
    p, stream = op.attributes["p"], op.attributes["stream"]
    width = math.gcd(4, width_of_vectors([x, y], y.size))
    arguments = (
        *(Address(t) for t in (y, x, key, step)),
        np.int64(y.size),
        np.uint64(math.ceil(p * 2**32)),
        np.uint32(stream),
        np.float32(1 / (1 - p)),
    )
    kernel = f"{op.function.__name__}<{ctype(y)}, {width}>"
    return [by_thread(kernel, FILE, -(-y.size // 4), arguments, counted=0)]
