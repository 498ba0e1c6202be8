"""Place blocks of a CSV file in as few bytes as can be found.

Its columns are id, lower, upper, size.
"""

from __future__ import annotations

import argparse

from minidl.cli.options import add_config
from minidl.cli.values import path, size
from minidl.compiler.place import EFFORT, max_load, place, top
from minidl.compiler.place.table import read_table, write_table
from minidl.console import result, tell
from minidl.files.atomic import write_text
from minidl.files.opening import read_text

HARD = 100 * EFFORT
"""A file is placed once and may be worth minutes."""


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
        help="bytes to fit into: stop there, and exit with 1 if they do not suffice",
    )
    parser.add_argument(
        "--out", type=path, metavar="FILE", help="write the rows with offsets there, not to stdout"
    )


def run(options: argparse.Namespace) -> int:
    table = read_table(read_text(options.file), str(options.file))
    offsets = place(table.blocks, HARD, options.capacity or 0)
    height, load = top(table.blocks, offsets), max_load(table.blocks)
    fits = options.capacity is None or height <= options.capacity
    tell(f"{len(table.blocks)} blocks end at byte {height:,}; most bytes live at once: {load:,}")
    if not fits:
        tell(f"they do not fit into {options.capacity:,} bytes")
        return 1
    text = write_table(table, offsets)
    if options.out is None:
        result(text, end="")
    else:
        write_text(options.out, text)
    return 0
