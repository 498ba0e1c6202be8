"""--gpu, as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from minidl.cards import BY_NAME, DEFAULT
from minidl.cli import main
from minidl.placed.verify.file import check_file

LENET = ["plan", "--model", "lenet", "--classes", "10", "-b", "8"]


def test_a_named_card_implies_cuda_and_says_which_batch_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    assert main([*LENET, "--gpu", "RTX 3060", "--amp", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "bf16  device cuda" in printed
    assert "card: rtx3060, NVIDIA GeForce RTX 3060, sm_86, 28 multiprocessors; 11.26 GiB" in printed
    assert "assumed to be free" in printed
    found = re.search(r"batch 8 fits on rtx3060, (\d+) is the largest that does", printed)
    assert found is not None
    assert int(found[1]) > 1000
    data = json.loads(file.read_text())
    check_file(data)
    card = BY_NAME["rtx3060"]
    assert data["device"] == "cuda"
    assert data["card"] == {
        "name": "rtx3060",
        "architecture": "sm_86",
        "multiprocessors": 28,
        "memory_bytes": card.memory,
        "kept_bytes": card.kept,
    }


def test_a_batch_that_does_not_fit_is_said_to(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--model", "vgg16", "-b", "1000", "--memory", "caffe", "--gpu", "rtx4060"]
    assert main(["plan", *flags]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"batch 1000 does not fit on rtx4060, (\d+) is the largest", printed)
    assert found is not None
    assert 8 < int(found[1]) < 200


def test_without_a_name_the_plan_is_for_the_default_card_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*LENET, "--device", "cuda"]) == 0
    printed = capsys.readouterr().out
    assert f"{DEFAULT.name} is the default card, no device was touched" in printed
    assert main(LENET) == 0
    assert "card" not in capsys.readouterr().out, "a plan for the cpu is for none"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rtx306", "unknown GPU 'rtx306': did you mean rtx3060 or "),
        ("t4", "GPU 't4' is NVIDIA T4, sm_75: the kernels need sm_80 or newer"),
    ],
)
def test_one_line_for_a_card_that_is_none(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*LENET, "--gpu", name])
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
