"""Completion scripts, written from the parsers: bash, zsh, fish."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from minidl.cli.parser import Parser, Parsers, flags, is_switch, places, takes_path
from minidl.cli.values import path

BASH = """\
_minidl() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    local command=${{COMP_WORDS[1]}}
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands} --help --version" -- "$current"))
        return
    fi
    case "$command $before" in
{values}
    esac
    case "$command" in
{flags}
    esac
}}
complete -o filenames -F _minidl minidl
"""


def bash(parsers: Parsers) -> str:
    """Words for `compgen`; files where a value or a place is one."""
    values = [line for name, parser in parsers.items() for line in _bash_values(name, parser)]
    by_command = [line for name, parser in parsers.items() for line in _bash_flags(name, parser)]
    return BASH.format(
        commands=" ".join(parsers), values="\n".join(values), flags="\n".join(by_command)
    )


def _bash_values(name: str, parser: Parser) -> Iterator[str]:
    """What may come behind each flag that has a value."""
    for action in flags(parser):
        if not is_switch(action):
            patterns = "|".join(f'"{name} {word}"' for word in action.option_strings)
            yield f"        {patterns}) {_bash_reply(action)}return;;"


def _bash_flags(name: str, parser: Parser) -> Iterator[str]:
    words = " ".join(word for action in flags(parser) for word in action.option_strings)
    yield f'        {name}) case "$current" in'
    yield f'            -*) COMPREPLY=($(compgen -W "{words} --help" -- "$current"));;'
    yield from (f"            *) {_bash_reply(place)};;" for place in places(parser)[:1])
    yield "        esac;;"


def _bash_reply(action: argparse.Action) -> str:
    if action.choices is not None:
        words = " ".join(map(str, action.choices))
        return f'COMPREPLY=($(compgen -W "{words}" -- "$current")); '
    if _is_file(action):
        return 'mapfile -t COMPREPLY < <(compgen -f -- "$current"); '
    return ""


def _is_file(action: argparse.Action) -> bool:
    return takes_path(action) or action.type is path


ZSH = """\
#compdef minidl
_minidl() {{
    local -a commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{flags}
    esac
}}
if [ "$funcstack[1]" = _minidl ]; then
    _minidl "$@"
else
    compdef _minidl minidl
fi
"""


def zsh(parsers: Parsers) -> str:
    """`_arguments` for every command."""
    commands = [f"        {_quoted(f'{n}:{_colons(summary(p))}')}" for n, p in parsers.items()]
    cases = [line for name, parser in parsers.items() for line in _zsh_case(name, parser)]
    return ZSH.format(commands="\n".join(commands), flags="\n".join(cases))


def _zsh_case(name: str, parser: Parser) -> Iterator[str]:
    yield f"    {name}) _arguments \\"
    specs = [_zsh_flag(a, word) for a in flags(parser) for word in a.option_strings]
    specs += [f"*:{(a.metavar or a.dest)}:{_zsh_values(a)}" for a in places(parser)]
    yield from (f"        {_quoted(spec)} \\" for spec in specs)
    yield f"        {_quoted('--help[show what there is]')};;"


def _zsh_flag(action: argparse.Action, word: str) -> str:
    text = _colons(_plain(action)).replace("[", "\\[").replace("]", "\\]")
    if is_switch(action):
        return f"{word}[{text}]"
    return f"*{word}[{text}]:{_colons(str(action.metavar or action.dest))}:{_zsh_values(action)}"


def _zsh_values(action: argparse.Action) -> str:
    if action.choices is not None:
        return f"({' '.join(map(str, action.choices))})"
    return "_files" if _is_file(action) else " "


def _colons(text: str) -> str:
    return text.replace(":", "\\:")


def _quoted(text: str) -> str:
    """In single quotes, for a POSIX-like shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def fish(parsers: Parsers) -> str:
    """A `complete` for every flag."""
    lines = ["complete -c minidl -f"]
    for name, parser in parsers.items():
        first = f"complete -c minidl -n __fish_use_subcommand -a {name}"
        lines.append(f"{first} -d {_fish_quoted(summary(parser))}")
    for name, parser in parsers.items():
        when = f"complete -c minidl -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{when} {words}" for words in _fish_words(parser)]
    return "\n".join(lines) + "\n"


def _fish_words(parser: Parser) -> Iterator[str]:
    for action in flags(parser):
        text = f"-d {_fish_quoted(_plain(action))}"
        names = " ".join(_fish_names(action.option_strings))
        if is_switch(action):
            yield from (f"{one} {text}" for one in _fish_names(action.option_strings))
        else:
            yield f"{names} {_fish_values(action)} {text}"
    yield from (_fish_values(place).replace("-r ", "") for place in places(parser))


def _fish_names(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        yield f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}"


def _fish_values(action: argparse.Action) -> str:
    if action.choices is not None:
        return f"-x -a '{' '.join(map(str, action.choices))}'"
    return "-r -F" if _is_file(action) else "-x"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def summary(parser: Parser) -> str:
    """A command's first line."""
    return (parser.description or "").splitlines()[0]


def _plain(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%").replace(" (default: %(default)s)", "")
