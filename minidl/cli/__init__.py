"""The command line: `minidl train`, `eval`, `predict`, `export`, `plan`, `compare`, `place`,
`build-kernels`, `about`, `completion`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from minidl.cli.command import Command
from minidl.cli.parser import Commands, overview
from minidl.console import say

COMMANDS = {
    "train": Command("minidl.cli.train"),
    "eval": Command("minidl.cli.evaluate"),
    "predict": Command("minidl.cli.predict"),
    "export": Command("minidl.cli.export"),
    "plan": Command("minidl.cli.plan"),
    "compare": Command("minidl.cli.compare"),
    "place": Command("minidl.cli.place"),
    "build-kernels": Command("minidl.cli.build_kernels"),
    "about": Command("minidl.cli.versions"),
    "completion": Command("minidl.cli.completion"),
}
"""By name, in the order of `minidl --help`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 done, 1 it failed, 2 it was not asked right, 130 Ctrl-C. Errors are one
    line, whatever they are; with --traceback they are raised. Without a word, what there is."""
    commands = Commands(COMMANDS)
    if not (sys.argv[1:] if arguments is None else arguments):
        say(overview(COMMANDS))
        return 0
    options = commands.parse(arguments)
    from minidl.cli.call import call  # with NumPy, which --help and a wrong flag do without

    return call(options, commands, arguments)
