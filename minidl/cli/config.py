"""Flags from a TOML file, and from the run that is resumed: values that a command starts from."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minidl.cli.parser import Commands, flags, is_switch, nearest, takes_path
from minidl.files.fields import parsed, take
from minidl.files.opening import read_text
from minidl.ir import ArgumentError
from minidl.options import RENAMED

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Values = dict[str, Any]
"""By the options' names."""


def read_config(path: Path, command: str, commands: Commands) -> Values:
    """What a file says about a command.

    Keys are the flags' long names, with - or _. Outside of tables they are meant for every command
    that has such a flag, in a table `[train]` for that one. ArgumentError names the file and the
    key that no command has, or whose value is none.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise ArgumentError(f"--config {path}: {error.strerror or error}") from None
    try:
        data = parsed(tomllib.loads, text, "TOML")
    except ArgumentError as error:
        raise error.at(f"--config {path}") from None
    by_command = {name: _by_key(parser) for name, parser in commands.by_name.items()}
    everywhere = {k: a for known in by_command.values() for k, a in known.items()}
    values: Values = {}
    for table, key, given in _entries(data, path, by_command):
        known = by_command[table] if table else everywhere
        plain = key.replace("-", "_")
        plain = plain if plain in known else RENAMED.get(plain, plain)
        if plain not in known:
            near = nearest(
                f"--{key}".replace("_", "-"), (f"--{k.replace('_', '-')}" for k in known)
            )
            raise ArgumentError(f"--config {path}: unknown key {key!r}", near)
        action = by_command[command].get(plain)
        if action is not None and table in ("", command):
            values[action.dest] = _value(action, given, f"--config {path}: {key}")
    return values


def inherited(found: Any) -> Values:
    """The flags that a checkpoint's run was given."""
    flags = found.state.arguments.get("flags", {})
    return dict(take(dict[str, Any], flags, f"{found.path}: its flags"))


def of_run(saved: Mapping[str, Any], parser: argparse.ArgumentParser) -> Values:
    """The flags of a run, as `saved_flags` kept them; what is no flag any more is left out."""
    known = {action.dest: action for action in flags(parser)}
    saved = {RENAMED.get(name, name): given for name, given in saved.items()}
    return {
        name: _value(known[name], given, f"the run's {name}")
        for name, given in saved.items()
        if name in known and name not in OWN and given is not None
    }


OWN = (
    "config",
    "resume",
    "output_dir",
    "test_only",
    "weights",
    "new_head",
    "confusion",
    "other_data",
)
"""Flags that say what to do with a run, not what the run is."""


def saved_flags(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Values:
    """The values of all flags of a command, for JSON."""
    known = sorted(flags(parser), key=lambda action: action.dest)
    return {a.dest: _kept(a, getattr(options, a.dest)) for a in known}


def _kept(action: argparse.Action, value: Any) -> Any:
    """A value as JSON has it; a place that is there by its whole path, since the next command may
    be given in another folder."""
    if isinstance(value, tuple):
        return list(value)
    if takes_path(action) and isinstance(value, (str, Path)):
        return os.path.abspath(value) if os.path.exists(value) else str(value)
    return value


FIXED = ("seed",)
"""Flags with which a run begins, and which can change nothing later."""


def changed(
    options: argparse.Namespace, saved: Mapping[str, Any], parser: argparse.ArgumentParser
) -> dict[str, str]:
    """The flags that a resumed run is given anew, by name, each with what it was, in words.
    ArgumentError for one that cannot act any more."""
    saved = {RENAMED.get(name, name): given for name, given in saved.items()}
    now = saved_flags(options, parser)
    known = {a.dest: a for a in flags(parser) if a.dest in saved and a.dest not in OWN}
    found = {}
    for name, action in known.items():
        old = _kept(action, saved[name])
        if now[name] != old:
            words = next(w for w in action.option_strings if w.startswith("--"))
            found[name] = f"{words} {_shown(now[name])} (was {_shown(old)})"
            if name in FIXED:
                raise ArgumentError(
                    f"{found[name]}: a run keeps what it began with",
                    "leave it out, or begin another run",
                )
    return found


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _by_key(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Flags by their long names; a switch by the name without `no_` only."""
    named: dict[str, argparse.Action] = {}
    for action in flags(parser):
        words = [w for w in action.option_strings if w.startswith("--")]
        for word in words[:1] if is_switch(action) else words:
            named[word[2:].replace("-", "_")] = action
    named.pop("config", None)
    return named


def _entries(
    data: Mapping[str, Any], path: Path, commands: Mapping[str, object]
) -> Iterator[tuple[str, str, Any]]:
    """Table (empty outside of one), key and value; what stands in tables comes last, and wins."""
    for key, given in data.items():
        if not isinstance(given, dict):
            yield "", key, given
    for table, inside in data.items():
        if not isinstance(inside, dict):
            continue
        if table not in commands:
            raise ArgumentError(
                f"--config {path}: no command [{table}]",
                nearest(table, commands) or f"choose from {', '.join(commands)}",
            )
        yield from ((table, key, given) for key, given in inside.items())


def _value(action: argparse.Action, given: Any, where: str) -> Any:
    """A value as the flag would have made it from words; ArgumentError where it would not."""
    if is_switch(action):
        if not isinstance(given, bool):
            raise ArgumentError(f"{where}: must be true or false, got {given!r}")
        return given
    if isinstance(given, (bool, dict)):
        raise ArgumentError(f"{where}: {given!r} is no value of {action.option_strings[-1]}")
    if isinstance(action.default, list):
        return [
            _word(action, each, where) for each in (given if isinstance(given, list) else [given])
        ]
    return _word(action, ",".join(map(str, given)) if isinstance(given, list) else given, where)


def _word(action: argparse.Action, given: Any, where: str) -> Any:
    convert: Any = action.type or str
    try:
        value = convert(str(given))
    except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
        raise ArgumentError(f"{where}: {given!r}: {error}") from None
    if action.choices is not None and value not in action.choices:
        allowed = ", ".join(map(str, action.choices))
        raise ArgumentError(f"{where}: {given!r} is none of {allowed}")
    return value
