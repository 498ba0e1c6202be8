"""What people type who have never seen the commands, and the one line that they get."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.cli import main
from minidl.cli.hints import in_flags
from minidl.cli.options import typed
from minidl.cli.parser import nearest
from minidl.ir import MinidlError


def said(arguments: str, capsys: pytest.CaptureFixture[str], status: int = 2) -> str:
    """The error of a command that is refused."""
    with contextlib.suppress(SystemExit):
        assert main(arguments.split()) == status
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --bach 8", "unknown argument --bach: did you mean --batch-size?"),
        ("train --epoch 3", "unknown argument --epoch: did you mean --epochs?"),
        (
            "train --bach 8 --wieght-decay 1",
            "--bach: did you mean --batch-size?; unknown argument --wieght-decay: did you mean "
            "--weight-decay?",
        ),
        ("plan lenet", "unknown argument lenet: did you mean --model lenet?"),
        ("plan --zzz", "unknown argument --zzz (see"),
        ("trian", "there is no 'trian': did you mean train?"),
        ("plan --model restnet18", "there is no 'restnet18': did you mean resnet18?"),
        ("train --keep-best top-1", "there is no 'top-1': did you mean top1?"),
        ("train --keep-best zzz", "there is no 'zzz': choose from auto, off, top1"),
        ("train -b x", "must be a whole number of at least 1, got 'x'"),
        ("train --epochs 1.5", "must be a whole number of at least 1, got '1.5'"),
        ("train --lr fast", "must be a number, got 'fast'"),
        ("train --lr -1 --model lenet", "SGD: lr must be a finite number of at least 0, got -1"),
        ("train --lr nan --model lenet", "SGD: lr must be a finite number of at least 0, got nan"),
        (
            "train --lr 0 --lr-min 1 --model lenet",
            "--lr-min must be in [0, 0.0], the rate, got 1.0",
        ),
        ("train --mean red", "must be numbers such as 0.5,0.4,0.3, got 'red'"),
        (
            "plan --budget 0",
            "--budget must be a number of bytes, at least 1, or text such as '8GiB', ",
        ),
        ("plan --model lenet --recompute 1.5", "0.01 for 1 %, got 1.5"),
        ("plan --model lenet -b 4 --slices 8", "--slices must be in [1, 4], the batch, got 8"),
    ],
)
def test_what_is_mistyped_is_named_with_what_was_meant(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in said(arguments, capsys)


@pytest.mark.parametrize(
    ("word", "names", "found"),
    [
        ("--bach", "--scratch -b --batch-size", "--batch-size"),
        ("--batch", "--scratch -b --batch-size", "--batch-size"),
        ("--weights", "--weight-decay --weights", "--weights"),
        ("--b", "--batch-size -b", "-b"),
        ("--ba", "--batch-size --budget", ""),
        ("resnet-50", "resnet18 resnet34 resnet50", "resnet50"),
        ("--colour", "--lr --gpu", ""),
        ("", "--lr", ""),
    ],
)
def test_the_nearest_name(word: str, names: str, found: str) -> None:
    assert nearest(word, names.split()) == (f"did you mean {found}?" if found else "")


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("memory='arena', budget=5 fits", "--memory arena --budget 5 fits"),
        ("slices=2 needs 3.27 GiB; slices=4", "--slices 2 needs 3.27 GiB; --slices 4"),
        ("scratch_limit=1048576", "--scratch 1048576"),
        ("clip_norm=1.5; prefetch=False", "--clip-grad-norm 1.5; --no-prefetch"),
        ("use prefetch=True", "use --prefetch"),
        ("(drop_last=True), my_budget=3", "(drop_last=True), my_budget=3"),
        ("it is; scratch_limit must be 1, got 0", "it is; --scratch must be 1, got 0"),
        ("at prefetch: memory", "at prefetch: memory"),
        ("must be bytes, or None, got 0", "must be bytes, got 0"),
    ],
)
def test_settings_are_flags_on_the_command_line(script: str, command: str) -> None:
    assert in_flags(MinidlError("it is wrong", script)) == f"it is wrong: {command}"
    assert in_flags(MinidlError(script)) == command


def test_a_flag_stands_once_in_the_command_to_type() -> None:
    options = argparse.Namespace(typed=["train", "--device", "cuda", "--amp", "--lr=1"])
    assert typed(options, "--device cpu") == "minidl train --amp --lr=1 --device cpu"
    assert typed(options, "--lr 2") == "minidl train --device cuda --amp --lr 2"
    assert typed(options, "--no-amp") == "minidl train --device cuda --amp --lr=1 --no-amp"


def test_where_no_batch_fits_the_table_says_what_one_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "--model", "lenet", "-b", "4", "--gpu-memory", "100KiB"]) == 0
    table = capsys.readouterr().out.partition("largest batch in 100.0 KiB:")[2]
    rows = [line for line in table.splitlines() if "batch 1: " in line]
    assert len(rows) == 6
    assert all(" none " in row for row in rows)
    assert "0 B" not in table


@pytest.mark.parametrize("name", ["photos.zip", "photos.TAR.gz"])
def test_images_in_an_archive_are_not_taken_for_a_broken_image(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"PK")
    error = said(f"predict --run run {tmp_path / name}", capsys)
    assert f"{name}: images are not read in an archive: unpack it and name the folder" in error


def test_a_broken_image_says_how_to_go_on_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(np.random.default_rng().integers(2**31))
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    for name in ("cup", "plate"):
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    for i in range(3, 6):
        (tmp_path / "cup" / f"{i}.png").write_text("broken")
    train = f"train --data-path {tmp_path} --model lenet --image 16 -b 4 --epochs 1 -j 0"
    assert "or damaged: --broken skip leaves it out" in said(train, capsys, status=1)
    assert main([*train.split(), "--broken", "skip"]) == 0
