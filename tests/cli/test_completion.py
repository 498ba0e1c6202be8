"""Completion: what bash offers, and that every shell that is here reads its script."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from minidl.cli import COMMANDS, main
from minidl.cli.parser import Commands, flags
from minidl.compiler.modes import MODES

SHELLS = ("bash", "zsh", "fish")


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def offered(code: str, folder: Path, *words: str) -> list[str]:
    """What bash completes the last word to."""
    (folder / "complete.bash").write_text(code)
    line = " ".join(f"'{word}'" for word in ("minidl", *words))
    asked = (
        "source <(cat complete.bash); complete -p minidl >/dev/null; "
        f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _minidl; "
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", asked], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return [word for word in done.stdout.splitlines() if word]


def test_bash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = script("bash", capsys)
    (tmp_path / "an image.jpg").touch()
    assert offered(code, tmp_path, "") == [*COMMANDS, "--help", "--version"]
    assert offered(code, tmp_path, "p") == ["predict", "plan", "place"]
    assert offered(code, tmp_path, "train", "--lr-w") == ["--lr-warmup-epochs", "--lr-warmup-decay"]
    assert offered(code, tmp_path, "plan", "--memory", "") == list(MODES)
    assert offered(code, tmp_path, "train", "-b", "") == []
    assert offered(code, tmp_path, "train", "--weights", "a") == ["an image.jpg"]
    assert offered(code, tmp_path, "predict", "a") == ["an image.jpg"]
    assert offered(code, tmp_path, "completion", "z") == ["zsh"]
    for name, parser in Commands(COMMANDS).by_name.items():
        words = [word for action in flags(parser) for word in action.option_strings]
        assert offered(code, tmp_path, name, "-") == [*words, "--help"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_flag_is_in_the_script_and_the_shell_reads_it(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = script(shell, capsys)
    for parser in Commands(COMMANDS).by_name.values():
        for action in flags(parser):
            assert all(word.lstrip("-") in code for word in action.option_strings)
    (tmp_path / "script").write_text(code)
    if shutil.which(shell):
        subprocess.run([shell, "-n", "script"], cwd=tmp_path, check=True)
