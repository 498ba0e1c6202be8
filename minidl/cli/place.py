"""Place blocks of a CSV file in as few bytes as can be found.

Its columns are id, lower, upper, size.
"""

from __future__ import annotations

import argparse

from minidl.cli.options import add_config
from minidl.cli.values import path, positive, size
from minidl.compiler.place import EFFORT, Impossible, Undecided, fit, max_load, place, top
from minidl.compiler.place.table import read_table, write_table
from minidl.console import result, tell
from minidl.files.atomic import write_text
from minidl.files.opening import read_text

EFFORT_OF_A_FILE = 100
"""Times a plan's: a file is placed once and may be worth minutes."""

UNDECIDED = 3
"""Exit code where blocks may fit or not."""


EXAMPLES = (
    ("minidl place blocks.csv", "offsets for any blocks with lifetimes"),
    ("minidl place blocks.csv --capacity 1MiB --out placed.csv", "stop where they fit"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "file", type=path, metavar="CSV", help="id,lower,upper,size; lifetimes are [lower, upper)"
    )
    parser.add_argument(
        "--capacity",
        type=size,
        metavar="SIZE",
        help="bytes to fit into: exit with 1 where that is proven impossible, with 3 where it is "
        "not decided",
    )
    parser.add_argument(
        "--effort",
        type=positive,
        metavar="N",
        default=EFFORT_OF_A_FILE,
        help="seconds of search, about; a plan takes 1",
    )
    parser.add_argument(
        "--out", type=path, metavar="FILE", help="write the rows with offsets there, not to stdout"
    )


def run(options: argparse.Namespace) -> int:
    table = read_table(read_text(options.file), str(options.file))
    effort, capacity = options.effort * EFFORT, options.capacity
    if capacity is None:
        offsets = place(table.blocks, effort)
    else:
        answer = fit(table.blocks, capacity, effort)
        if isinstance(answer, Impossible):
            tell(f"proven: they do not fit into {capacity:,} bytes; {answer.why}")
            return 1
        if isinstance(answer, Undecided):
            tell(
                f"not decided whether they fit into {capacity:,} bytes: {answer.nodes:,} nodes of "
                f"search; try --effort {10 * options.effort}"
            )
            return UNDECIDED
        offsets = answer.offsets
    height, load = top(table.blocks, offsets), max_load(table.blocks)
    tell(f"{len(table.blocks)} blocks end at byte {height:,}; most bytes live at once: {load:,}")
    text = write_table(table, offsets)
    if options.out is None:
        result(text, end="")
    else:
        write_text(options.out, text)
    return 0
