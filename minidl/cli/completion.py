"""Print a script that completes commands and flags in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from minidl.cli.parser import Parsers
from minidl.cli.shells import bash, fish, zsh
from minidl.console import result

EXAMPLES = (
    ("minidl completion bash", "into ~/.bashrc: source <(minidl completion bash)"),
    ("minidl completion zsh", "into ~/.zshrc, behind compinit: source <(minidl completion zsh)"),
    ("minidl completion fish", "into config.fish: minidl completion fish | source"),
)

SHELLS: dict[str, Callable[[Parsers], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=list(SHELLS), help="the shell to write for")


def run(options: argparse.Namespace) -> int:
    result(SHELLS[options.shell](options.parsers), end="")
    return 0
