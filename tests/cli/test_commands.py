"""plan, compare and train on the digits, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import minidl as dl
from minidl import console
from minidl.cli import COMMANDS, main
from minidl.data import digits
from minidl.interop import read_weights
from minidl.placed.verify.file import check_file
from minidl.train import Cosine, fit

ROOT = Path(__file__).parents[2]


def test_plan_says_in_a_pipe_what_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PATIENCE", 0.0)
    monkeypatch.setattr(console, "growing", lambda first: iter([first]))
    assert main(["plan", "--model", "lenet", "-b", "4"]) == 0
    assert capsys.readouterr().err.splitlines() == ["minidl: planning lenet, batch 4 ..."]


def test_plan_prints_every_mode_and_writes_a_file_that_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    assert (
        main(["plan", "--model", "vgg16", "-b", "4", "--device", "cuda", "--json", str(file)]) == 0
    )
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if " of every blob" in line or line[0] in " *"]
    modes = [row.lstrip("* ").split()[0] for row in rows if "GiB" in row or "MiB" in row]
    assert modes == ["naive", "caffe", "liveness", "fujitsu2016", "arena"]
    data = json.loads(file.read_text())
    check_file(data)
    assert data["model"] == "vgg16"
    assert data["batch"] == 4
    assert data["device"] == "cuda"
    assert data["modes"]["arena"] == data["arena_bytes"]


def test_compare_runs_every_mode_and_finds_the_same_bits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", "--model", "lenet", "-b", "4", "--classes", "10", "--steps", "1"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[0] for row in rows] == [
        "naive",
        "caffe",
        "liveness",
        "fujitsu2016",
        "arena",
    ]
    assert all(row.endswith("same as naive") for row in rows[1:])


def test_train_off_a_terminal_prints_the_table_and_a_line_an_epoch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--model", "lenet", "--image", "32", "--epochs", "6", "--lr", "0.05", "-b", "32"]
    assert main(["train", *flags]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("digits: 1,797 images in 10 classes")
    assert lines[0].endswith(": 1,438 train, 359 test")
    assert lines[1].startswith("nothing is kept: --output-dir DIR keeps ")
    assert lines[2].startswith("lenet  batch 32  image 32x32x1")
    assert lines[11].startswith("  epoch 1/6  step 1/44  loss 2.")
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == [f"{i}/6" for i in range(1, 7)]
    assert float(epochs[-1].split("test accuracy")[1].split()[0]) > 90
    assert captured.err == ""


def test_same_seed_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["train", "--model", "lenet", "--image", "32", "--epochs", "1", "-b", "256"]
    losses = []
    for seed in ("1", "1", "2"):
        main([*flags, "--seed", seed])
        losses.append(capsys.readouterr().out.split("loss ")[1].split()[0])
    assert losses[0] == losses[1] != losses[2]


def test_train_is_what_fit_does_on_the_digits(tmp_path: Path) -> None:
    """The command's way to the data changes no bit."""
    flags = ["--model", "lenet", "--image", "32", "--epochs", "2", "-b", "64"]
    assert main(["train", *flags, "--output-dir", str(tmp_path)]) == 0
    optimizer = dl.SGD(0.005, momentum=0.9, weight_decay=5e-4)
    step = dl.compile(dl.models.lenet(), 64, optimizer=optimizer)
    fit(step, digits((32, 32, 1)), 2, schedule=Cosine())
    written = read_weights(tmp_path / "weights.safetensors")
    here = step.state_dict()
    assert {n: a.tobytes() for n, a in written.items()} == {n: a.tobytes() for n, a in here.items()}


def test_what_fits_and_what_each_pass_buys(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["plan", "--model", "lenet", "--classes", "10", "-b", "64", "--device", "cuda"]
    assert main([*flags, "--gpu-memory", "64MiB", "--recompute", "0.05", "--ablate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("largest batch in 64"))
    batches = {line[2:26].strip(): int(line[26:34]) for line in lines[start + 2 : start + 8]}
    assert list(batches)[-1] == "arena, 5 % more work"
    assert 0 < batches["naive"] <= batches["caffe"] <= batches["fujitsu2016"] <= batches["arena"]
    assert any(line.split()[:1] == ["commute_selections"] for line in lines)
    assert any("recompute 5 %" in line for line in lines)
    assert any(line.startswith("certificate:") for line in lines)


def test_every_export_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {flag: tmp_path / f"plan.{flag}" for flag in ("json", "html", "png", "snapshot")}
    flags = [word for flag, file in files.items() for word in (f"--{flag}", str(file))]
    how = ["--model", "lenet", "-b", "4", "--classes", "10", "--slices", "2", "--explain"]
    assert main(["plan", *how, *flags]) == 0
    printed = capsys.readouterr().out
    assert all(str(file) in printed for file in files.values())
    assert all(file.stat().st_size > 1000 for file in files.values())
    check_file(json.loads(files["json"].read_text()))
    assert "order: " in printed


def test_a_budget_that_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.json"
    flags = ["plan", "--model", "lenet", "-b", "64", "--budget", "1MiB", "--json", str(file)]
    assert main(flags) == 2
    captured = capsys.readouterr()
    assert "MiB short" in captured.err
    assert captured.err.count("\n") == 1
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--model", "alexnett"], ["alexnett", "alexnet"]),
        (["plan", "--gpu"], ["--gpu"]),
        (["plan", "-b", "0"], ["batch-size", "at least 1"]),
        (["plan", "--scratch", "12GQ"], ["12GQ", "12GiB"]),
        (["train", "--epochs", "many"], ["--epochs"]),
        (["--traceback"], ["COMMAND"]),
    ],
)
def test_bad_usage_exits_with_2(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--model", "alexnet", "--image", "16"], ["features.", "larger image"]),
        (["plan", "--lr", "-1"], ["SGD: lr", "got -1"]),
        (["train", "--model", "lenet", "--image", "32", "-b", "4096"], ["4096", "smaller batch"]),
        (["plan", "--device", "cpu", "--precision", "tf32"], ["tf32", "float32"]),
    ],
)
def test_what_cannot_be_is_one_line_and_2(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"minidl {arguments[0]}: error: ")
    assert all(word in error for word in words)


def test_a_file_that_cannot_be_written_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "lenet", "--json", "/nowhere/plan.json"]) == 1
    assert "/nowhere/plan.json" in capsys.readouterr().err


def test_bare_checkout_runs_and_imports_models() -> None:
    code = "import minidl.models, minidl; print(minidl.models.vgg16().name)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "vgg16\n"


def test_without_a_word_there_is_an_overview(capsys: pytest.CaptureFixture[str]) -> None:
    """What it is, each command in one line of 80 columns, three examples; nothing else."""
    assert main([]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith(f"minidl {dl.__version__}: train neural networks")
    rows = lines[lines.index("commands:") + 1 : lines.index("examples:") - 1]
    assert [row.split()[0] for row in rows] == list(COMMANDS)
    assert all(command.summary in row for row, command in zip(rows, COMMANDS.values(), strict=True))
    assert sum(line.startswith("  minidl ") for line in lines) == 3
    assert (max(map(len, lines)) < 80, err) == (True, "")


def test_an_overview_and_a_version_need_no_numpy() -> None:
    for arguments in ([], ["--version"]):
        run = (
            f"import sys\nfrom minidl.cli import main\ntry: main({arguments})\n"
            "except SystemExit as stop: assert not stop.code\nprint('numpy' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(f"minidl {dl.__version__}")
        assert done.stdout.splitlines()[-1] == "False"
