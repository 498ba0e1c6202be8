"""Command lines on the pages: each is one that its program understands, README's own do what it
says; and every Python block is run by a test."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchmarks.gpu import commands as on_a_gpu
from minidl.cli import COMMANDS, main
from minidl.cli.parser import Commands, flags
from tests.cli.runs import photos
from tests.docs.pages import ROOT, blocks, page, under
from tests.docs.test_pages import PAGES

PRESENT = [name for name in PAGES if name != "CHANGELOG.md" and "decisions" not in name]
"""Pages about what is, not what was."""
SHELL = [
    (name, line.strip())
    for name in PRESENT
    for block in blocks(page(name), "sh")
    for line in block.splitlines()
]
INLINE = [
    (name, command)
    for name in PRESENT
    for command in re.findall(r"`(minidl [a-z][a-z-]*(?: [^`]*)?)`", " ".join(page(name).split()))
]
"""Commands within a sentence, which may be parts of one."""
PARSERS = Commands(COMMANDS).by_name
EXTRAS = set(
    re.findall(
        r"^([\w-]+) = \[",
        (ROOT / "pyproject.toml")
        .read_text("utf-8")
        .partition("[project.optional-dependencies]")[2]
        .partition("\n[")[0],
        re.MULTILINE,
    )
)
RUN_BY = {
    "README.md": "test_readme",
    "docs/adding_a_layer.md": "test_adding_a_layer",
    "docs/architecture.md": "test_architecture",
    "docs/cli.md": "test_commands",
    "docs/plan_file.md": "test_plan_file",
    "docs/roofline.md": "test_roofline",
    "docs/tutorial.md": "test_tutorial",
}
"""The test that runs a page's Python blocks."""


def require_understood(command: str) -> None:
    """That the program of one command takes the arguments; AssertionError for a program that
    nobody knows, SystemExit for arguments that it does not take."""
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    match [words[0].rpartition("/")[2], *words[1:]]:
        case ["minidl", *arguments]:
            Commands(COMMANDS).parse(arguments)
        case ["python3", "-m", "venv", ".venv"] | [".", ".venv/bin/activate"]:
            pass
        case ["python", "-m", "pytest", *arguments]:
            assert arguments == ["-n", "auto"]
        case ["python", "-m", "benchmarks.gpu", part, *arguments]:
            assert part in on_a_gpu.PARTS
            named = [word for word in arguments if word.startswith("--")]
            assert all(f'"{word}"' in Path(on_a_gpu.__file__).read_text("utf-8") for word in named)
        case ["pip", "install", *arguments]:
            for extra in re.findall(r"\[(.*?)\]", " ".join(arguments)):
                assert set(extra.split(",")) <= EXTRAS, extra
        case ["pre-commit", "install"]:
            assert (ROOT / ".pre-commit-config.yaml").exists()
        case _:
            raise AssertionError(f"nobody knows the program of {command!r}")


@pytest.mark.parametrize(("name", "line"), SHELL)
def test_a_line_is_understood(name: str, line: str) -> None:
    for command in re.split(r" && ", line):
        inner = re.fullmatch(r"source <\((.*)\)", command)
        require_understood(inner[1] if inner else command.replace("$(git rev-parse HEAD)", "0"))


@pytest.mark.parametrize(
    "line", ["minidl train --bach 4", "pip install 'minidl[nvrtc99]'", "make all", "minidl trian"]
)
def test_a_stale_line_is_found(line: str) -> None:
    with pytest.raises((SystemExit, AssertionError)):
        require_understood(line)


@pytest.mark.parametrize(("name", "command"), sorted(set(INLINE)))
def test_a_command_in_a_sentence_has_its_flags(name: str, command: str) -> None:
    _, word, *rest = shlex.split(command)
    assert word in COMMANDS, f"{name}: {command}"
    known = {option for action in flags(PARSERS[word]) for option in action.option_strings}
    assert {w.partition("=")[0] for w in rest if w.startswith("-")} <= known, f"{name}: {command}"


@pytest.mark.parametrize("name", PRESENT)
def test_extras_of_a_page_exist(name: str) -> None:
    found = re.findall(r"(?:minidl|'\.|\"\.)\[([\w,]+)\]", page(name))
    assert {extra for group in found for extra in group.split(",")} <= EXTRAS


def test_every_python_block_is_run() -> None:
    have = {name for name in PRESENT if blocks(page(name), "python")}
    assert have == set(RUN_BY)
    for name, test in RUN_BY.items():
        text = (ROOT / "tests" / "docs" / f"{test}.py").read_text("utf-8")
        assert Path(name).name in text, name


SMALLER = {
    "--model resnet18": "--model lenet --image 32 -j 0",
    "-b 32": "-b 4",
    "--epochs 90": "--epochs 1",
}
"""What a test has no time for."""


def test_the_way_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images of one's own: train, resume, measure, predict, export; then the Python of cli.md."""
    monkeypatch.chdir(tmp_path)
    images = sorted(photos(tmp_path).glob("*/*"))
    Path("cat.jpg").write_bytes(images[0].read_bytes())
    Path("dog.png").write_bytes(images[-1].read_bytes())
    _, way = blocks(under(page("README.md"), "## Train"), "sh")
    extra, *rest = way.splitlines()
    assert extra.startswith("pip install '.[data]'")
    lines = [shlex.split(_smaller(line), comments=True) for line in rest]
    assert [words[1] for words in lines] == ["train", "train", "eval", "predict", "export"]
    for program, *arguments in lines:
        assert program == "minidl"
        assert main(arguments) == 0, arguments
    assert Path("model.onnx").stat().st_size > 10_000
    (code,) = blocks(page("docs/cli.md"), "python")
    capsys.readouterr()
    exec(compile(code, "cli.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"^cat.jpg c\d \d", printed, re.MULTILINE), printed
    assert "24 images, top-1 " in printed
    assert Path("model.safetensors").exists()


def _smaller(line: str) -> str:
    for long, short in SMALLER.items():
        line = line.replace(long, short)
    return line
