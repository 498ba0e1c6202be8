"""The parser of the command line: one-line errors, flags that are spelled out, examples below."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Texts as they are; a default where there is one to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if shown_default(action) else action.help


class Parser(argparse.ArgumentParser):
    """Errors are one line and exit with 2; no flag can be shortened."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": Formatter, **how})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class Commands:
    """`minidl` and its commands by name. A command is a module with a docstring, EXAMPLES,
    `add_arguments` and `run`."""

    def __init__(self, modules: dict[str, Any]) -> None:
        self.top = Parser(
            prog="minidl",
            description="Train neural networks in one planned arena.",
            epilog=examples([module.EXAMPLES[0] for module in modules.values()]),
        )
        subparsers = self.top.add_subparsers(dest="command", required=True, metavar="COMMAND")
        self.by_name: dict[str, Parser] = {}
        for name, module in modules.items():
            parser = subparsers.add_parser(
                name,
                help=(module.__doc__ or "").splitlines()[0],
                description=module.__doc__,
                epilog=examples(module.EXAMPLES),
            )
            module.add_arguments(parser)
            parser.set_defaults(run=module.run, parser=parser, parsers=self.by_name)
            self.by_name[name] = parser

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Options of a command; where a flag is unknown, the error names the nearest one."""
        options, unknown = self.top.parse_known_args(arguments)
        if unknown:
            parser = self.by_name[options.command]
            known = [name for action in flags(parser) for name in action.option_strings]
            word = unknown[0].partition("=")[0]
            parser.error(f"unknown argument {word}{nearest(word, known)}")
        return options


def flags(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Everything of a command that begins with a dash, `--help` left out."""
    return [a for a in parser._actions if a.option_strings and a.dest != "help"]


def places(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of a command that have no dash."""
    return [a for a in parser._actions if not a.option_strings]


def is_switch(action: argparse.Action) -> bool:
    """Whether a flag has no value: `--amp`, `--no-amp`."""
    return isinstance(action, argparse.BooleanOptionalAction)


def takes_path(action: argparse.Action) -> bool:
    """Whether a value is a file or a folder."""
    return action.metavar in ("FILE", "DIR", "PATH")


def shown_default(action: argparse.Action) -> bool:
    return action.default not in (None, False, [], argparse.SUPPRESS)


def nearest(word: str, known: Iterable[str]) -> str:
    """`: did you mean --lr?`, or nothing where nothing is near."""
    found = difflib.get_close_matches(word, list(known), 1)
    return f": did you mean {found[0]}?" if found else ""


def examples(lines: Iterable[tuple[str, str]]) -> str:
    """Commands and what each does."""
    rows = [f"  {command}\n      {words}" for command, words in lines]
    return "\n".join(["examples:", *rows])
