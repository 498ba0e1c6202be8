"""A command with the settings of a step, and one more."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from minidl.cli.options import add_settings
from minidl.options import Options, option, positive

EXAMPLES = (("minidl try", "try it"),)


@dataclass(frozen=True)
class More(Options):
    """A copy of the class with one setting more."""

    dummy: int = option(7, "what nobody needs", positive, unit="N", flag="dummy-number")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("memory")
    group.add_argument("--config")
    add_settings(group, "memory", options=More)


def run(options: argparse.Namespace) -> int:
    return 0
