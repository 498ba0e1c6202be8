"""The parser of the command line: one-line errors, flags that are spelled out, examples below."""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import minidl
from minidl.cli.command import Command
from minidl.console import ERRORS, hush, result, tell, width
from minidl.files.words import shown

KINDS = {
    "positive": "a whole number of at least 1",
    "natural": "a whole number of at least 0",
    "int": "a whole number",
    "float": "a number",
    "numbers": "numbers such as 0.5,0.4,0.3",
    "epochs": "whole numbers such as 30,60,80",
}
"""What a value must be, by the name of the function that reads it and raises ValueError."""


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Texts as they are; a default where there is one to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if shown_default(action) else action.help


class Parser(argparse.ArgumentParser):
    """Errors are one line and exit with 2; no flag can be shortened."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": Formatter, **how})

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """A flag's value; what is none is told what would do."""
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            what = KINDS.get(getattr(action.type, "__name__", ""))
            if what is None or not isinstance(error.__context__, ValueError):
                raise
            raise _refused(action, f"must be {what}, got {shown(arg_string)}") from None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """One of a flag's choices, or a command; the error names the nearest one."""
        if action.choices is None or value in action.choices:
            return
        names = list(map(str, action.choices))
        way_out = nearest(str(value), names) or f"choose from {', '.join(names)}"
        raise _refused(action, f"there is no {shown(str(value))}: {way_out}")

    def error(self, message: str) -> NoReturn:
        tell(f"{self.prog}: error: {message} (see {self.prog} --help)")
        self.exit(2)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if message:
            ERRORS.write(message)
        hush()
        sys.exit(status)

    def _print_message(self, message: str, file: Any = None) -> None:
        """--help and --version: a result, without which the command failed."""
        try:
            result(message, end="")
        except BrokenPipeError:
            self.exit(1)
        except OSError as error:
            tell(f"{self.prog}: error: {error.filename}: {error.strerror}")
            self.exit(1)


def _refused(action: argparse.Action, words: str) -> argparse.ArgumentError:
    """What is wrong with the value of a flag, which argparse names in front."""
    return argparse.ArgumentError(action, words)


class CommandParser(Parser):
    """The parser of one command, which gets its arguments when it is first asked to parse."""

    def __init__(self, command: Command, **how: Any) -> None:
        about = textwrap.fill(command.description, width())
        texts = {"description": about, "epilog": examples(command.examples)}
        super().__init__(**texts, **how)
        self.command = command
        self.has_arguments = False

    def add_arguments(self) -> None:
        """Those of the command's module, once."""
        if not self.has_arguments:
            self.has_arguments = True
            self.command.module.add_arguments(self)
            self.set_defaults(run=self.command.module.run, parser=self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.add_arguments()
        return super().parse_known_args(args, namespace)


class Parsers(Mapping[str, CommandParser]):
    """Parsers by their commands' names; one that is taken out has its arguments."""

    def __init__(self) -> None:
        self.known: dict[str, CommandParser] = {}

    def __getitem__(self, name: str) -> CommandParser:
        parser = self.known[name]
        parser.add_arguments()
        return parser

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


WHAT = "Train neural networks in one planned arena."

FIRST = ("train", "predict", "plan")
"""Commands that people begin with."""


def overview(commands: Mapping[str, Command]) -> str:
    """What minidl is, a line a command, and three examples."""
    lines = [f"  {name:<14}{command.summary}" for name, command in commands.items()]
    shown = examples([commands[name].examples[0] for name in FIRST])
    return "\n".join(
        [
            f"minidl {minidl.__version__}: {WHAT[0].lower()}{WHAT[1:]}",
            "",
            *("usage: minidl COMMAND ...", "       minidl COMMAND --help    shows its flags"),
            *("", "commands:", *lines, "", shown),
        ]
    )


class Commands:
    """`minidl` and the parsers of its commands by name."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self.top = Parser(
            prog="minidl",
            description=WHAT,
            epilog=examples([command.examples[0] for command in commands.values()]),
        )
        self.top.add_argument("--version", action="version", version=f"minidl {minidl.__version__}")
        self.top.add_argument(
            "--traceback", action="store_true", help="show where an error comes from, not one line"
        )
        self.by_name = Parsers()
        subparsers = self.top.add_subparsers(
            dest="command", required=True, metavar="COMMAND", parser_class=CommandParser
        )
        for name, command in commands.items():
            parser = subparsers.add_parser(name, help=command.summary, command=command)
            parser.set_defaults(parsers=self.by_name)
            self.by_name.known[name] = parser

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Options of a command; where a flag is unknown, the error names the nearest one."""
        options, unknown = self.top.parse_known_args(arguments)
        if unknown:
            parser = self.by_name[options.command]
            words = [word for word in unknown if word.startswith("-")] or unknown
            parser.error("; ".join(_unknown(word.partition("=")[0], parser) for word in words))
        return options


def _unknown(word: str, parser: argparse.ArgumentParser) -> str:
    """What is said of a word that a command does not know."""
    names = [name for action in flags(parser) for name in action.option_strings]
    way_out = renamed(word, parser) or _without_flag(word, parser) or nearest(word, names)
    return ": ".join(filter(None, (f"unknown argument {word}", way_out)))


def _without_flag(word: str, parser: argparse.ArgumentParser) -> str:
    """`did you mean --model lenet?` of a value whose flag lacks, else nothing."""
    for action in flags(parser):
        if action.choices is not None and word in action.choices:
            return f"did you mean {action.option_strings[-1]} {word}?"
    return ""


def renamed(word: str, parser: argparse.ArgumentParser) -> str:
    """`it is --disable-passes now` of a flag of version 0.1.0, else nothing."""
    from minidl.options import RENAMED  # with NumPy, which a command's own module has loaded

    now = RENAMED.get(word.lstrip("-").replace("-", "_"))
    flag = next((a.option_strings[0] for a in flags(parser) if a.dest == now), "")
    return f"it is {flag} now" if now and flag else ""


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
    """`did you mean --lr?`, or nothing where nothing is near: by the whole name, or by its
    beginning, since people cut names short. Dashes in front count for nothing."""
    plain = word.lstrip("-")
    scored = [(_alike(plain, name.lstrip("-")), name) for name in known]
    score, found = max(scored, default=((0.0, 0.0), ""))
    return f"did you mean {found}?" if score[0] >= NEAR else ""


NEAR = 0.7
"""Of 1, from which on a name is near."""


def _alike(word: str, name: str) -> tuple[float, float]:
    """How alike two names are in [0, 1], by the better of both measures, then by the whole."""
    whole, start = (
        difflib.SequenceMatcher(None, word, part).ratio() for part in (name, name[: len(word)])
    )
    return (max(whole, start) if len(word) >= SHORT else whole), whole


SHORT = 3
"""Letters from which on a beginning says which name is meant."""


def examples(lines: Iterable[tuple[str, str]]) -> str:
    """Commands and what each does; one that is too long goes on in another line."""
    return "\n".join(["examples:", *(_example(*line) for line in lines)])


def _example(command: str, words: str) -> str:
    how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    typed = textwrap.wrap(
        command, width() - len("  ") - len(" \\"), subsequent_indent="    ", **how
    )
    said = textwrap.fill(words, width(), initial_indent=6 * " ", subsequent_indent=6 * " ", **how)
    return "  " + " \\\n  ".join(typed) + "\n" + said
