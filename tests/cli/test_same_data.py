"""Images that changed between two commands: refused, or measured by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from minidl.cli import main
from tests.cli.runs import SMALL, failed, run, trained

__all__ = ["run"]


@pytest.fixture
def one(run: Path, tmp_path: Path) -> Path:
    """A run of one epoch, beside images of its own."""
    data = shutil.copytree(run.parent / "photos", tmp_path / "photos")
    return trained(tmp_path, "--epochs", "1", data=data)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_class_that_was_renamed(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (one.parent / "photos" / "c0").rename(one.parent / "photos" / "zebra")
    before = contents(one)
    for how in ([], ["--other-data"]):
        status, error = failed(capsys, "train", "--resume", str(one), "--epochs", "2", *how)
        assert status == 2
        assert "other classes than the checkpoint's: 'c0' is gone and 'zebra' is new" in error
        assert "--weights" in error
    assert contents(one) == before
    for weights in (["--resume", str(one)], ["--weights", str(one / "weights.safetensors")]):
        data = ["--data-path", str(one.parent / "photos"), *SMALL]
        status, error = failed(capsys, "train", "--test-only", *weights, *data)
        assert (status, "does not know: zebra" in error) == (2, True)


def test_an_image_that_was_added(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = one.parent / "photos" / "c1"
    shutil.copy(next(folder.iterdir()), folder / "added.png")
    before = contents(one)
    status, error = failed(capsys, "train", "--resume", str(one), "--epochs", "2")
    assert (status, "there are 21, there were 20" in error) == (2, True)
    assert "--other-data" in error
    assert contents(one) == before
    capsys.readouterr()
    assert main(["train", "--resume", str(one), "--epochs", "2", "--other-data"]) == 0
    assert "minidl: the training images are not the checkpoint's" in capsys.readouterr().err


def test_classes_are_measured_by_name(
    one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of three classes the first is missing: by their places all labels would be wrong."""
    data = tmp_path / "some"
    for name in ("c1", "c2"):
        shutil.copytree(one.parent / "photos" / name, data / name)
    how = ["--data-path", str(data), "-j", "0", "--confusion", str(tmp_path / "c.csv")]
    capsys.readouterr()
    assert main(["eval", "--run", str(one), "--split", "held-out", *how]) == 0
    expected = (capsys.readouterr().out, (tmp_path / "c.csv").read_text())
    for weights in (["--resume", str(one)], ["--weights", str(one / "weights.safetensors")]):
        flags = ["train", "--test-only", *weights, *SMALL, "--classes", "3", *how]
        assert main(flags) == 0
        found = (capsys.readouterr().out, (tmp_path / "c.csv").read_text())
        assert found[0] == expected[0]
        assert [r.split(",")[1:] for r in found[1].splitlines()[1:]] == [
            r.split(",")[1:] for r in expected[1].splitlines()[1:]
        ]
