"""What version 0.1.0 wrote is read: a run and its checkpoint, a TOML file, a plan file.

`resumed.safetensors` are the weights that 0.1.0 itself came to from the run's checkpoint.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl.cli import COMMANDS, main
from minidl.cli.config import read_config
from minidl.cli.parser import Commands
from minidl.interop import read_weights
from minidl.placed.verify.file import check_file

HERE = Path(__file__).parent
WORDS = ["chain_sums", "hoist_updates"]
"""What `without` was, and `disable_passes` is."""


def test_a_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """To the bit where this machine's arithmetic is that of the one that wrote it."""
    again, run = tmp_path / "again", tmp_path / "run"
    shutil.copytree(HERE / "run", run)
    flags = ["train", "--config", str(HERE / "run.toml"), "--output-dir", str(again)]
    assert main(flags) == 0
    assert main(["train", "--resume", str(run), "--epochs", "2"]) == 0
    record = json.loads((run / "args.json").read_text())
    assert record["arguments"]["flags"]["disable_passes"] == WORDS
    assert record["arguments"]["flags"]["clip_norm"] == 2.0
    assert record["step"]["scratch_limit"] == 2**24
    pairs = [(HERE / "run", again), (HERE, run)]
    names = "weights.safetensors", "resumed.safetensors"
    one, two = (
        (read_weights(then / name), read_weights(now / "weights.safetensors"))
        for (then, now), name in zip(pairs, names, strict=True)
    )
    exact = all(np.array_equal(one[0][name], one[1][name]) for name in one[0])
    for name in two[0]:
        np.testing.assert_allclose(two[1][name], two[0][name], rtol=0, atol=0 if exact else 1e-4)


def test_a_toml_file_is_read() -> None:
    found = read_config(HERE / "run.toml", "train", Commands(COMMANDS))
    assert found["disable_passes"] == WORDS
    assert found["clip_norm"] == 2.0
    assert found["scratch_limit"] == 2**24
    assert found["model"] == "lenet"


def test_a_flag_says_its_new_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--without", "chain_sums"])
    assert "unknown argument --without: it is --disable-passes now" in capsys.readouterr().err


def test_a_plan_file_is_checked() -> None:
    data = json.loads((HERE / "plan.json").read_text())
    assert data["format"] == 1
    check_file(data)
    data["tensors"][3]["offset"] += data["alignment"] * 1000
    with pytest.raises(dl.PlanError):
        check_file(data)
