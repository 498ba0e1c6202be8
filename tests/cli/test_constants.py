"""--mean and --std: one number for all channels or one each, of pixels in [0, 255]."""

from __future__ import annotations

from pathlib import Path

import pytest

from minidl.cli import main
from minidl.train import opened
from tests.cli.runs import SMALL, failed, photos

UNIT = "0.485,0.456,0.406 --std 0.229,0.224,0.225"

REFUSED = [
    ("photos", f"--mean {UNIT}", "of pixels in [0, 1], and these are in [0, 255]: multiply by 255: "
     "mean 123.675,116.28,103.53 and std 58.395,57.12,57.375"),
    ("photos", "--mean 0.5", "multiply by 255: mean 127.5"),
    ("photos", "--std 0.5", "multiply by 255: std 127.5"),
    ("photos", "--mean 1,2", "mean of 2 numbers for images of 3 channels, which takes one for all"),
    ("photos", "--mean 1,2 --std 3,4", "channels, which takes one for all or one each; std of 2"),
    ("digits", "--mean 1,2,3", "mean of 3 numbers for images of 1 channels"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "flags", "words"), REFUSED)
def test_what_cannot_be_meant(
    data: str, flags: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = data if data == "digits" else str(photos(tmp_path))
    how = ["train", "--data-path", where, *SMALL, "--epochs", "1", *flags.split()]
    status, error = failed(capsys, *how)
    assert (status, words in error) == (2, True), error


def test_one_number_is_for_every_channel(tmp_path: Path) -> None:
    """To the same bits as three of it."""
    data, kept = str(photos(tmp_path)), []
    for name, flags in (("one", "127.5 --std 70"), ("three", "127.5,127.5,127.5 --std 70,70,70")):
        how = ["train", "--data-path", data, *SMALL, "--epochs", "1", "--mean", *flags.split()]
        assert main([*how, "--output-dir", str(tmp_path / name)]) == 0
        kept.append(opened(tmp_path / name).variables)
    one, three = kept
    assert {n: a.tobytes() for n, a in one.items()} == {n: a.tobytes() for n, a in three.items()}


def test_one_mean_beside_the_usual_deviations(tmp_path: Path) -> None:
    how = ["train", "--data-path", str(photos(tmp_path)), *SMALL, "--epochs", "1"]
    assert main([*how, "--mean", "127.5"]) == 0
    assert main([*how, "--mean", "0", "--std", "1"]) == 0
