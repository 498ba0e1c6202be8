"""What goes wrong is one line on standard error, and an exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import minidl as dl
from minidl.cli import main, versions
from minidl.interop import save_weights
from tests.cli.runs import SMALL, failed, run
from tests.docs.pages import ROOT

__all__ = ["run"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("train --lrr 1", 2, "--lrr: did you mean --lr?"),
        ("train --momen 1", 2, "--momen"),
        ("train --epochs 0", 2, "--epochs: must be at least 1"),
        ("train --seed -1", 2, "--seed: must be a whole number in [0, 2^64), got"),
        ("train --lr-milestones 3,x", 2, "--lr-milestones"),
        ("train --lr-milestones 3", 2, "--lr-scheduler multistep"),
        ("train --lr-scheduler multistep", 2, "needs --lr-milestones"),
        ("train --lr-min 1", 2, "--lr-min must be in [0, 0.005]"),
        ("train --mean red", 2, "--mean"),
        ("train --data-path nowhere", 2, "nowhere: no such file or folder"),
        ("train --classes 3", 2, "digits has 10"),
        ("train --amp", 2, "cpu has no --amp: say --device cuda or --no-amp"),
        ("train --prefetch", 2, "cpu has no --prefetch: say --device cuda or --no-prefetch"),
        ("train --precision bf16", 2, "cpu has no --precision bf16: say --device cuda or"),
        ("train --amp --prefetch", 2, "no --amp and no --prefetch: say --device cuda or --no-amp"),
        ("train --label-smoothing 2", 2, "label_smoothing"),
        ("train --model-ema --model-ema-decay 1 --model lenet", 2, "--model-ema-decay"),
        ("train --plot", 2, "--plot needs --output-dir"),
        ("train --tensorboard", 2, "--tensorboard needs --output-dir"),
        ("train --checkpoint-every 5", 2, "--checkpoint-every needs --output-dir"),
        ("train --resume auto", 2, "--output-dir"),
        ("train --resume nowhere", 1, "nowhere"),
        ("train --test-only --model lenet", 2, "--test-only measures --weights FILE or --resume"),
        ("train --weights nowhere.pth --model lenet --image 32", 1, "nowhere.pth: No such file"),
        ("train --config nowhere.toml", 2, "nowhere.toml: No such file"),
        ("train --model alexnet --image 16", 2, "larger image"),
        ("eval", 2, "--run DIR, or --weights FILE"),
        ("eval --weights nowhere.pth --model lenet", 1, "nowhere.pth: No such file"),
        ("eval --run nowhere", 1, "nowhere"),
        ("predict", 2, "IMAGE"),
        ("predict --weights pyproject.toml x.jpg", 2, "--model NAME"),
        ("predict --weights pyproject.toml --model lenet x.jpg", 2, "neither .safetensors"),
        ("predict --weights pyproject.toml --model lenet --model-ema x.jpg", 2, "--model-ema"),
        ("export --run nowhere", 2, "--onnx FILE, --safetensors FILE"),
        ("completion tcsh", 2, "tcsh"),
        (f"plan --model lenet --budget {'9' * 400}", 2, "is not a size"),
        ("plan --model lenet --budget 9999999TiB", 2, "no memory has 2^63 bytes"),
        (f"plan --model lenet -b {'9' * 5000}", 2, "-b"),
    ],
)
def test_one_line(
    arguments: str,
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    found, error = failed(capsys, *arguments.split())
    assert (found, words in error) == (status, True), error


def test_a_folder_of_another_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data-path", str(run.parent / "photos"), *SMALL]
    status, error = failed(capsys, "train", *data, "--output-dir", str(run))
    assert (status, "(--resume)" in error) == (2, True)


def test_a_run_of_another_network(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, error = failed(capsys, "train", "--resume", str(run), "--classes", "7")
    assert (status, "another network" in error) == (1, True)
    status, error = failed(capsys, "eval", "--run", str(run), "--model", "alexnet")
    assert (status, "lenet, not of alexnet" in error) == (2, True)
    status, error = failed(capsys, "eval", "--run", str(run), "--model-ema", "-j", "0")
    assert (status, "no averaged weights" in error) == (1, True)


def test_weights_of_another_network(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.safetensors"
    save_weights(file, dl.compile(dl.models.lenet(), 1).state_dict())
    how = ["--weights", str(file), "--data-path", str(run.parent / "photos"), "--classes", "3"]
    status, error = failed(capsys, "eval", *how, "--model", "vgg_small", "-j", "0")
    assert (status, "another network's" in error) == (2, True)
    assert "strict" not in error
    status, error = failed(capsys, "eval", *how)
    assert (status, "--model NAME" in error) == (2, True)


def test_no_permission(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file stands where the folder should be, and a disk that refuses."""
    (tmp_path / "file").touch()
    how = ["train", "--model", "lenet", "--image", "32", "--epochs", "1", "--output-dir"]
    status, error = failed(capsys, *how, str(tmp_path / "file" / "run"))
    assert (status, str(tmp_path / "file") in error) == (1, True)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "run")

    monkeypatch.setattr(Path, "mkdir", refused)
    status, error = failed(capsys, *how, str(tmp_path / "run"))
    assert (status, "run: Permission denied" in error) == (1, True)


@pytest.mark.parametrize("extra", ["PIL", "onnx", "matplotlib", "tensorboardX"])
def test_a_missing_extra_says_how_to_install_it(
    extra: str,
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    new = ["train", "--model", "lenet", "--image", "32", "--output-dir", str(tmp_path)]
    asked = {
        "PIL": ["predict", "--run", str(run), str(run / "args.json")],
        "onnx": ["export", "--run", str(run), "--onnx", str(tmp_path / "m.onnx")],
        "matplotlib": [*new, "--plot"],
        "tensorboardX": [*new, "--tensorboard"],
    }[extra]
    if extra == "PIL":
        from minidl.data.decode import pillow

        pillow.cache_clear()
    if extra == "matplotlib":
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, error = failed(capsys, *asked)
    assert (status, "minidl[" in error) == (2, True), error


def test_nobody_reads_on() -> None:
    """`minidl plan | head -1` ends without a word."""
    write = "import sys, minidl.cli; sys.exit(minidl.cli.main(['plan', '--model', 'lenet']))"
    read, end = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", write], cwd=ROOT, stdout=end, stderr=subprocess.PIPE, text=True
    )
    os.close(end)
    assert (done.returncode, done.stderr) == (1, "")


def test_main_is_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    """It can be called again and again, and leaves the warnings as they were."""
    before = sys.modules["warnings"].showwarning  # type: ignore[attr-defined]
    for _ in range(2):
        assert main(["plan", "--model", "lenet", "-b", "1"]) == 0
    assert sys.modules["warnings"].showwarning is before  # type: ignore[attr-defined]
    assert capsys.readouterr().err == ""


def test_a_fault_of_minidls_own_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> list[tuple[str, str]]:
        raise KeyError("nothing\nof it")

    monkeypatch.setattr(versions, "rows", fails)
    status, error = failed(capsys, "about")
    assert status == 1
    assert "a fault in minidl, KeyError in test_errors.py, line" in error
    assert "`minidl --traceback ...`" in error
    with pytest.raises(KeyError):
        main(["--traceback", "about"])


def test_errors_are_raised_where_that_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(dl.ArgumentError, match="nowhere"):
        main(["--traceback", "train", "--data-path", str(tmp_path / "nowhere")])
