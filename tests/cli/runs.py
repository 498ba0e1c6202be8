"""Small runs of the command line for the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from minidl.cli import main
from tests.data.images import folder_of

SMALL = ["--model", "lenet", "--image", "32", "-b", "4", "--lr", "0.02", "-j", "0"]
"""LeNet on coloured images of 32x32, decoded in this process."""


def photos(folder: Path) -> Path:
    """24 small files in three classes: 20 to train on, 4 held out."""
    return folder_of(folder / "photos", classes=3, each=8)


def trained(folder: Path, *flags: str, data: Path | None = None, out: str = "run") -> Path:
    """The folder of a run on `data`, or on new images."""
    data = photos(folder) if data is None else data
    where = folder / out
    assert (
        main(["train", "--data-path", str(data), *SMALL, "--output-dir", str(where), *flags]) == 0
    )
    return where


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs."""
    return trained(tmp_path_factory.mktemp("cli"), "--epochs", "2")


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit status and the one line on standard error."""
    capsys.readouterr()
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith(f"minidl {arguments[0]}: ")
    return status, error
