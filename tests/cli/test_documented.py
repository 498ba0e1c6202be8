"""Every flag has a help text and a row in docs/cli.md; every example is one."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from minidl.cli import COMMANDS, main
from minidl.cli.call import complete
from minidl.cli.parser import Commands, flags, is_switch, places
from tests.docs.pages import blocks, page, under

PARSERS = Commands(COMMANDS).by_name
PAGE = page("docs/cli.md")
EXAMPLES = [line for command in COMMANDS.values() for line, _ in command.examples]
SHOWN = [
    line.partition("#")[0].strip()
    for text in (PAGE, page("README.md"))
    for code in blocks(text, "sh")
    for line in code.splitlines()
    if line.startswith("minidl ")
]
"""What the pages show."""
CHEAP = [
    *(line for line in EXAMPLES if line.startswith("minidl completion")),
    "minidl compare --model lenet -b 4 --classes 10 --steps 1",
    "minidl plan --model lenet --classes 10 --summary --explain",
]
"""Examples that run in a second and need no file."""


@pytest.mark.parametrize("command", PARSERS)
def test_every_flag_has_a_help_text(command: str) -> None:
    silent = [a.dest for a in (*flags(PARSERS[command]), *places(PARSERS[command])) if not a.help]
    assert not silent


def test_a_flag_without_a_help_text_is_found() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quiet")
    assert [a.dest for a in flags(parser) if not a.help] == ["quiet"]


@pytest.mark.parametrize("command", PARSERS)
def test_the_page_lists_exactly_the_flags(command: str) -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", under(PAGE, f"## minidl {command}"), re.MULTILINE)
    listed = {word for row in rows for word in re.findall(r"`(-[\w-]+)", row)}
    assert listed == {word for a in flags(PARSERS[command]) for word in a.option_strings}


@pytest.mark.parametrize("command", PARSERS)
def test_help_shows_every_flag_and_the_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert all(word in shown for a in flags(PARSERS[command]) for word in a.option_strings)
    joined = " ".join(shown.replace("\\\n", " ").split())
    assert all(line in joined for line, _ in COMMANDS[command].examples)


@pytest.mark.parametrize("command", PARSERS)
def test_a_command_has_config_its_own_first_example_and_one_on_the_page(command: str) -> None:
    assert COMMANDS[command].examples[0][0].startswith(f"minidl {command}")
    assert ("config" in {a.dest for a in flags(PARSERS[command])}) == (
        command not in ("about", "completion")
    )
    shown = [line for code in blocks(under(PAGE, f"## minidl {command}"), "sh") for line in code]
    assert f"minidl {command}" in "".join(shown)


@pytest.mark.parametrize("example", dict.fromkeys([*EXAMPLES, *SHOWN]))
def test_example_parses(example: str) -> None:
    Commands(COMMANDS).parse(shlex.split(example)[1:])


@pytest.mark.parametrize("example", CHEAP)
def test_example_runs(example: str) -> None:
    assert main(shlex.split(example)[1:]) == 0


def test_the_config_of_the_page_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(blocks(PAGE, "toml")[0])
    for command in ("train", "eval"):
        commands = Commands(COMMANDS)
        arguments = [command, "--config", str(file)]
        options = complete(commands.parse(arguments), commands, arguments)
        assert options.model == "lenet"
        assert command != "train" or (options.lr_milestones, options.model_ema) == ((30, 60), True)


def test_switches_are_lower_case_words() -> None:
    """So that a key of a file is the flag's name."""
    for parser in PARSERS.values():
        for action in flags(parser):
            long = [w for w in action.option_strings if w.startswith("--")]
            assert long
            assert not is_switch(action) or long[0][2:].replace("-", "_") == action.dest
