"""Launches of counters: one thread each."""

from __future__ import annotations

import numpy as np

from minidl.ir import Op
from minidl.ops import counters as ops
from minidl.ops.cuda.launch import Address, CppFile, Launch
from minidl.ops.cuda.rules import rule, source_of

FILE = CppFile("counters.cu")


@rule(ops.count_step, file=FILE)
def count_step(op: Op) -> list[Launch]:
    return [Launch("count_step", FILE, (1, 1, 1), 32, (Address(op.writes[0]),))]


@rule(ops.count_micro_batch, file=FILE)
def count_micro_batch(op: Op) -> list[Launch]:
    arguments = (Address(op.writes[0]), np.int64(op.attributes["calls"]))
    return [Launch("count_micro_batch", source_of(op), (1, 1, 1), 32, arguments)]
