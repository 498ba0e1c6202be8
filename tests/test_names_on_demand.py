"""A name of minidl, and a command's module, are imported when they are asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import minidl
from minidl.cli import COMMANDS, main

INIT = Path(minidl.__file__)


def run(code: str, *arguments: str) -> str:
    """What a fresh process prints; one that fails fails the test."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=INIT.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(*arguments: str) -> set[str]:
    """The modules that `minidl ARGUMENTS` leaves behind, where it ends in SystemExit."""
    code = """if True:
        import sys
        from minidl.cli import main
        try:
            main(sys.argv[1:])
        except SystemExit:
            print("modules:", *sys.modules)
    """
    _, found, modules = run(code, *arguments).rpartition("modules: ")
    assert found
    return set(modules.split())


@pytest.mark.parametrize("word", ["--help", "--version", "trian"])
def test_what_needs_no_command_imports_none_and_no_numpy(word: str) -> None:
    loaded = loaded_by(word)
    assert "minidl.cli" in loaded
    assert not loaded & {"numpy", "minidl.ir", *(c.name for c in COMMANDS.values())}


def test_a_command_imports_no_other() -> None:
    loaded = loaded_by("place", "--help")
    assert {c.name for c in COMMANDS.values()} & loaded == {"minidl.cli.place"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_text_of_a_command_is_read_as_its_module_has_it(name: str) -> None:
    command = COMMANDS[name]
    assert command.examples == command.module.EXAMPLES
    assert command.description == command.module.__doc__.strip()


def test_top_help_shows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("\\\n", " ").split())
    for name, command in COMMANDS.items():
        assert f"{name} {command.summary}" in shown
        assert " ".join(command.examples[0]) in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"minidl {minidl.__version__}\n"


def test_importing_minidl_loads_nothing_else_of_it() -> None:
    code = "import minidl, sys; print(*(m for m in sys.modules if m.split('.')[0] == 'minidl'))"
    assert set(run(code).split()) == {"minidl", "minidl.checkout"}


def test_every_name_is_what_its_module_has() -> None:
    for name, home in minidl.HOMES.items():
        assert getattr(minidl, name) is getattr(import_module(home), name)
    layers = import_module("minidl.layers")
    for name in layers.__all__:
        assert getattr(minidl, name) is getattr(layers, name)
    assert set(minidl.__all__) == {*minidl.HOMES, *layers.__all__, "models"}
    assert set(minidl.__all__) < set(dir(minidl))


def test_mypy_sees_the_same_names() -> None:
    """Those of HOMES, of the rooms, and the layers' with a star."""
    tree = ast.parse(INIT.read_text(encoding="utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }
    rooms = {room: "minidl" for room in minidl.ROOMS if room != "models"}
    assert seen == {**minidl.HOMES, **rooms}
    assert "from minidl.layers import *" in map(ast.unparse, block.body)


@pytest.mark.parametrize(
    "code",
    [
        "from minidl import *; print(SGD, Conv2d, compile, models.lenet)",
        "import minidl; print(minidl.models.lenet, minidl.layers.Conv2d, minidl.data.digits)",
        "import minidl.models; print(minidl.models.lenet)",
        "from minidl.models import lenet; print(lenet)",
        "import minidl.front, minidl; print(minidl.compile)",
    ],
)
def test_ways_to_ask(code: str) -> None:
    assert "function" in run(code)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'minidl' has no attribute 'Conv3d'"):
        _ = minidl.Conv3d
    with pytest.raises(ImportError, match="Conv3d"):
        exec("from minidl import Conv3d")
