"""Tables of docs/cli.md: every flag of every command, read from the parsers."""

from __future__ import annotations

import argparse

from minidl.cli import COMMANDS
from minidl.cli.parser import Commands, flags, is_switch, places, shown_default


def flags_table(parser: argparse.ArgumentParser) -> str:
    """Markdown: arguments without a dash, then flags, in the order of --help."""
    rows = [_row(action) for action in (*places(parser), *flags(parser))]
    return "\n".join(["| flag | default | what it does |", "| --- | --- | --- |", *rows])


def _row(action: argparse.Action) -> str:
    cells = (f"`{_name(action)}`", _default(action), _help(action))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _name(action: argparse.Action) -> str:
    if is_switch(action):
        return "`, `".join(action.option_strings)
    if not action.option_strings:
        return str(action.metavar or action.dest)
    value = f" {action.metavar or action.dest.upper()}"
    return "`, `".join(f"{name}{value}" for name in action.option_strings)


def _default(action: argparse.Action) -> str:
    if not action.option_strings or not shown_default(action):
        return ""
    return "on" if action.default is True else f"`{action.default}`"


def _help(action: argparse.Action) -> str:
    words = (action.help or "").replace("%%", "%").replace(" (default: %(default)s)", "")
    if action.choices is not None and action.metavar is None:
        words += f": {', '.join(f'`{choice}`' for choice in action.choices)}"
    return words.replace("<", "&lt;")


TABLES = {
    ("docs/cli.md", command): lambda command=command: flags_table(
        Commands(COMMANDS).by_name[command]
    )
    for command in COMMANDS
}
