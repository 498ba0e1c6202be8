"""Main loops of the products, counted in machine code: what `benchmarks.resources --loops` writes.

A row for each product kernel and chip: what a block needs, the instructions that each warp issues
for one stage of the main loop (BM x BN x BK of its tile), by kind, and what the whole kernel has.
Kinds: see benchmarks/machine_code.py. A stage's tensor instructions are known from the tile; where
the compiler unrolled the loop, counts are divided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.csv_tables import write_csv
from benchmarks.machine_code import KINDS, NEVER, Function, arithmetic, counted, rounds
from minidl.roofline.counts import shape_of

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


def row(kernel: str, chip: str, needs: tuple[int, int, int], function: Function) -> Row:
    """One kernel on one chip; `needs`: registers, bytes of shared memory, blocks that fit."""
    loop = function.main_loop()
    stages = arithmetic(loop, "TensorCore" in kernel) / shape_of(kernel).arithmetic
    if not stages:
        raise ValueError(f"{kernel} for {chip}: no main loop was found")
    kinds, opcodes = counted(loop), Counter(each.opcode for each in function.instructions)
    by_kind = (round(kinds[kind] / stages) for kind in (*KINDS, NEVER, "other"))
    whole = (len(function.instructions), opcodes["LDG"], opcodes["STG"])
    numbers = (*needs, round(len(loop) / stages), *by_kind, *whole, rounds(function.instructions))
    return dict(zip(COLUMNS, (kernel, chip, *map(str, numbers)), strict=True))


def write(path: Path, found: Sequence[Row]) -> None:
    """The table, in the order of names and chips."""
    write_csv(path, COLUMNS, sorted(found, key=lambda row: (row["kernel"], row["chip"])))
