"""The command line: `minidl train`, `minidl plan`, `minidl compare`, `minidl place`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from minidl.cli import compare, place, plan, train
from minidl.ir import MinidlError

EPILOG = """examples:
  minidl train                               AlexNet on the bundled handwritten digits
  minidl plan --model vgg16 -b 128           what one step needs, in every memory mode
  minidl plan --model vgg16 -b 128 --device cuda --json plan.json
  minidl plan --model vgg16 --device cuda --gpu-memory 12GiB --recompute 0.01
  minidl place blocks.csv --capacity 1MiB    offsets for any blocks with lifetimes
  minidl compare --model alexnet -b 8        real steps in every mode: bytes, time, same bits
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 done, 1 it failed, 2 it was not asked right. Errors are one line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (MinidlError, OSError) as error:
        print(f"minidl {options.command}: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        print(f"minidl {options.command}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minidl",
        description="Train neural networks in one planned arena.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (train, plan, compare, place):
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(
            name,
            help=summary,
            description=command.__doc__,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser
