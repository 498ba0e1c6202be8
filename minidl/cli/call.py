"""Running a command: flags from files, warnings and errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

import minidl.starting as starting
from minidl.cli.config import changed, inherited, of_run, read_config
from minidl.cli.hints import in_flags
from minidl.cli.parser import Commands
from minidl.console import hush, tell
from minidl.data import BrokenImageError
from minidl.ir import MinidlError
from minidl.ir.platforms import require_platform


def call(options: argparse.Namespace, commands: Commands, arguments: Sequence[str] | None) -> int:
    """The exit status of the command that `arguments` were parsed to.

    What a command prints is its result, without which it failed; what a run shows meanwhile goes
    to `minidl.console`, and the run goes on without it.
    """
    name = f"minidl {options.command}"
    if options.traceback:
        starting.ready()
        return _run(name, options, commands, arguments)
    try:
        return _told(name, options, commands, arguments)
    finally:
        hush()


def _told(
    name: str,
    options: argparse.Namespace,
    commands: Commands,
    arguments: Sequence[str] | None,
) -> int:
    """The exit status, errors in a line."""
    try:
        starting.ready()
        return _run(name, options, commands, arguments)
    except BrokenPipeError:
        return 1  # whoever read has what they wanted
    except (MinidlError, OSError, MemoryError) as error:
        tell(f"{name}: error: {_words(error)}{_notes(error)}")
        asked_wrong = isinstance(error, ValueError) and not isinstance(error, BrokenImageError)
        return 2 if asked_wrong else 1
    except KeyboardInterrupt as stop:
        tell(": ".join([f"{name}: interrupted", *map(str, stop.args)]))
        return 130
    except Exception as error:
        tell(f"{name}: error: {_fault(error)}{_notes(error)}")
        return 1


def _run(
    name: str,
    options: argparse.Namespace,
    commands: Commands,
    arguments: Sequence[str] | None,
) -> int:
    """The command itself, with whatever it raises."""
    with warnings.catch_warnings():
        _tell_warnings(name)
        require_platform()
        options = complete(options, commands, arguments)
        return int(options.run(options))


def complete(
    options: argparse.Namespace, commands: Commands, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """The options with what --config and the run of --resume say; flags win over the file, the
    file over the run."""
    parser = commands.by_name[options.command]
    config = getattr(options, "config", None)
    values = read_config(config, options.command, commands) if config is not None else {}
    if values:
        parser.set_defaults(**values)
        options = commands.parse(arguments)
    if getattr(options, "resume", None):
        found = options.opened(options)
        if found is not None:
            saved = inherited(found)
            parser.set_defaults(**of_run(saved, parser) | values)
            options = commands.parse(arguments)
            options.changed = changed(options, saved, parser)
        options.found = found
    options.typed = list(sys.argv[1:] if arguments is None else arguments)
    return options


def _tell_warnings(name: str) -> None:
    """Images that are passed over are told in one line each."""

    def show(message: Warning | str, *_: object) -> None:
        tell(f"{name}: {message}")

    warnings.filterwarnings("always", message="skipped: ")
    warnings.showwarning = show  # type: ignore[assignment]


def _notes(error: BaseException) -> str:
    """What is kept of a run that an error ended."""
    return "".join(f"; {note}" for note in getattr(error, "__notes__", ()))


def _fault(error: Exception) -> str:
    """What nobody raised on purpose, in one line, with the place to look at."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())[:LONGEST]
    return (
        f"a fault in minidl, {type(error).__name__} in {os.path.basename(place.filename)}, line "
        f"{place.lineno}: {said or 'no words'}: `minidl --traceback ...` shows all of it"
    )


LONGEST = 200
"""Characters of a fault's own words."""


def _words(error: BaseException) -> str:
    """What went wrong in one line, an OSError by its file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or type(error).__name__}"
    said = in_flags(error) if isinstance(error, MinidlError) else error
    return " ".join(str(said).split()) or "out of memory"
