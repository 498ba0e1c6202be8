"""Main loops of the products, counted in machine code: what `benchmarks.resources --loops` writes.

A row for each product kernel and chip: what a block needs, the instructions that each warp issues
for one stage of the main loop (BM x BN x BK of its tile), by kind, and what the whole kernel has.
Kinds: see benchmarks/machine_code.py. A stage's tensor instructions are known from the tile; where
the compiler unrolled the loop, counts are divided.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine_code import KINDS, NEVER, Function, arithmetic, counted, rounds

CHIPS = ("sm_80", "sm_89", "sm_90a")
"""Data centres and GeForce; Ampere, Ada and Hopper."""

COLUMNS = (
    *("kernel", "chip", "registers", "shared bytes", "blocks", "a stage"),
    *(*KINDS, NEVER, "other"),
    *("code", "LDG", "STG", "rounds"),
)
"""`blocks`: on a multiprocessor; `code`: instructions of the whole kernel, of which `LDG` and `STG`
read and write global memory, in `rounds` turns from reading to writing."""

Row = dict[str, str]

_TENSOR = re.compile(r"TensorCore<(\w+), (\d+), (\d+), (\d+), (\d+), (\d+)")
_SIMT = re.compile(r"Simt<(\d+), (\d+), (\d+), (\d+), (\d+)")
_DEPTH = {"Bf16": 16, "Tf32": 8}


def arithmetic_of_a_stage(kernel: str) -> int:
    """Tensor instructions of a warp, or multiply-adds of a thread, from a kernel's name."""
    if found := _TENSOR.search(kernel):
        k, m, n = map(int, found.groups()[3:])
        return k // _DEPTH[found[1]] * (m // 16) * (n // 8)
    if found := _SIMT.search(kernel):
        k, m, n = map(int, found.groups()[2:])
        return k * m * n
    raise ValueError(f"{kernel} has no main loop")


def row(kernel: str, chip: str, needs: tuple[int, int, int], function: Function) -> Row:
    """One kernel on one chip; `needs`: registers, bytes of shared memory, blocks that fit."""
    loop = function.main_loop()
    stages = arithmetic(loop, "TensorCore" in kernel) / arithmetic_of_a_stage(kernel)
    if not stages:
        raise ValueError(f"{kernel} for {chip}: no main loop was found")
    kinds, opcodes = counted(loop), Counter(each.opcode for each in function.instructions)
    by_kind = (round(kinds[kind] / stages) for kind in (*KINDS, NEVER, "other"))
    whole = (len(function.instructions), opcodes["LDG"], opcodes["STG"])
    numbers = (*needs, round(len(loop) / stages), *by_kind, *whole, rounds(function.instructions))
    return dict(zip(COLUMNS, (kernel, chip, *map(str, numbers)), strict=True))


def write(path: Path, found: Sequence[Row]) -> None:
    """The table, in the order of names and chips."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(found, key=lambda row: (row["kernel"], row["chip"])))
