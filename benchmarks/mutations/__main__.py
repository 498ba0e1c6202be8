"""The command line: draw, run, compare."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import benchmarks.mutations as package
from benchmarks.mutations.compare import compare
from benchmarks.mutations.lists import GROUPS, RefusedError, drawn, write_list
from benchmarks.mutations.run import Settings, run

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "mutations"
COUNTS = {"layers": 20, "passes": 25, "readers": 15}


def main() -> int:
    try:
        return _command(_parser().parse_args())
    except (OSError, RefusedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _command(options: argparse.Namespace) -> int:
    if options.command == "draw":
        path = options.out or RESULTS / f"list-{options.seed}.json"
        counts = COUNTS | dict(options.count or ())
        faults = drawn(ROOT, options.seed, counts)
        write_list(path, options.seed, faults)
        print(f"{len(faults)} faults in {path}")
        return 0
    if options.command == "compare":
        return compare(options.before, options.after)
    # a shell that starts it in the background has it ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings(
        options.jobs, options.seconds, options.limit, options.slow, options.known, options.found
    )
    return run(ROOT, options.list, options.out, settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.mutations",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    draw = commands.add_parser("draw", help="write a list of faults")
    draw.add_argument("seed", type=int)
    draw.add_argument("--count", type=_count, action="append", metavar="GROUP=N",
                      help=f"faults of one group, by default {COUNTS}")  # fmt: skip
    draw.add_argument("--out", type=Path, help="default: benchmarks/results/mutations")
    run = commands.add_parser("run", help="run the tests on every fault of a list, or go on")
    run.add_argument("list", type=Path)
    run.add_argument("--out", type=Path, required=True, help="one JSON line a fault; goes on there")
    run.add_argument("--jobs", type=int, default=1)
    run.add_argument("--seconds", type=float, default=float("inf"),
                     help="start no new fault after so many; the same command goes on")  # fmt: skip
    run.add_argument("--limit", type=float, default=900,
                     help="seconds after which the tests of one fault are ended (900)")  # fmt: skip
    run.add_argument("--known", type=Path, metavar="RESULT",
                     help="of another commit: the test that found a fault there first")  # fmt: skip
    run.add_argument("--found", action="store_true",
                     help="only the faults that --known has as found")  # fmt: skip
    run.add_argument("--slow", action="store_true", help="the tests marked slow, too")
    both = commands.add_parser("compare", help="what was killed before and survives now")
    both.add_argument("before", type=Path)
    both.add_argument("after", type=Path)
    return parser


def _count(text: str) -> tuple[str, int]:
    group, _, number = text.partition("=")
    if group not in GROUPS or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: GROUP=N, GROUP one of {', '.join(GROUPS)}")
    return group, int(number)


if __name__ == "__main__":
    sys.exit(main())
