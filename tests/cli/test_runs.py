"""Train on a folder of images, stop, go on, measure, predict, export."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from minidl.cli import main
from minidl.interop import read_weights
from minidl.train import checkpoint
from minidl.train.progress import Progress
from tests.cli.runs import SMALL, failed, photos, run, trained
from tests.data.images import encoded, pixels

__all__ = ["run"]

WEIGHTS = "weights.safetensors"


def bits(folder: Path, file: str = WEIGHTS) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in read_weights(folder / file).items()}


def test_a_runs_folder_knows_its_network(run: Path) -> None:
    about = json.loads((run / "args.json").read_text())["arguments"]["about"]
    assert about["model"] == "lenet"
    assert about["names"] == ["c0", "c1", "c2"]
    assert about["image"] == [32, 32, 3]
    assert about["mean"] == [123.675, 116.28, 103.53]
    assert len(checkpoint.found(run)) == 2


def test_eval_of_the_folder_of_the_weights_and_of_the_flags_agree(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "confusion.csv"
    data = ["--data-path", str(run.parent / "photos"), "-j", "0"]
    network = ["--model", "lenet", "--image", "32", "--classes", "3", "--mean"]
    network += ["123.675,116.28,103.53", "--std", "58.395,57.12,57.375"]
    capsys.readouterr()
    lines = []
    for how in (
        ["eval", "--run", str(run), "--checkpoint", "last", "-j", "0"],
        ["eval", "--weights", str(run / WEIGHTS), "-b", "1", *data],
        ["train", "--test-only", "--weights", str(run / WEIGHTS), *SMALL, *data],
        ["train", "--test-only", "--resume", str(run), *data],
    ):
        assert main([*how, "--confusion", str(table)]) == 0
        lines.append(tuple(capsys.readouterr().out.splitlines()[:2]))
    assert "20 train, 4 held-out (about one in ten, by hash, seed 0)" in lines[0][0]
    assert "photos held-out  4 images  loss " in lines[0][1]
    assert len(set(lines)) == 1
    rows = list(csv.reader(table.read_text().splitlines()))
    assert [row[0] for row in rows] == rows[0] == ["class", "c0", "c1", "c2"]
    assert sum(int(cell) for row in rows[1:] for cell in row[1:]) == 4


def test_every_split(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split, count in (("held-out", 4), ("train", 20), ("all", 24)):
        assert main(["eval", "--run", str(run), "-j", "0", "--split", split]) == 0
        assert f"{split}  {count} images  loss" in capsys.readouterr().out
    status, error = failed(capsys, "eval", "--run", str(run), "-j", "0", "--split", "test")
    assert status == 2
    assert "no split 'test' in it: choose from train, held-out, all" in error


def test_classes_are_matched_by_name(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with two of three classes, one of them another label than in training."""
    for name in ("c2", "c0"):
        shutil.copytree(run.parent / "photos" / name, tmp_path / "some" / name)
    arguments = ["eval", "--run", str(run), "-j", "0", "--split", "all"]
    table = tmp_path / "c.csv"
    assert main([*arguments, "--data-path", str(tmp_path / "some"), "--confusion", str(table)]) == 0
    rows = [list(map(int, row[1:])) for row in list(csv.reader(table.read_text().splitlines()))[1:]]
    assert [sum(row) for row in rows] == [8, 0, 8]
    (tmp_path / "some" / "c0").rename(tmp_path / "some" / "cat")
    status, error = failed(capsys, *arguments, "--data-path", str(tmp_path / "some"))
    assert (status, "cat" in error) == (2, True)


def test_stopped_and_resumed_is_the_same_as_never_stopped(tmp_path: Path) -> None:
    """From the middle of an epoch, with averaged weights, into the same bits."""
    how = ["--epochs", "3", "--model-ema", "--model-ema-steps", "2", "--lr-warmup-epochs", "1"]
    how += ["--checkpoint-every", "3", "--keep", "99", "--early-stopping", "9"]
    data = photos(tmp_path)
    whole = trained(tmp_path, *how, data=data)
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    for path in checkpoint.found(whole)[:3]:
        shutil.copy(path, stopped)
    assert checkpoint.read(checkpoint.found(stopped)[-1])[1].batch
    assert main(["train", "--resume", str(stopped)]) == 0
    for file in (WEIGHTS, "weights-averaged.safetensors"):
        assert bits(stopped, file) == bits(whole, file)
    assert main(["eval", "--run", str(stopped), "--model-ema", "-j", "0"]) == 0


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos(tmp_path)
    whole = trained(tmp_path, "--epochs", "2", data=data)

    def press(self: Progress, trainer: Any) -> None:
        if trainer.steps == 7:
            signal.raise_signal(signal.SIGINT)

    stopped = tmp_path / "stopped"
    how = ["--data-path", str(data), *SMALL, "--epochs", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_step_end", press)
        status, error = failed(capsys, "train", *how, "--output-dir", str(stopped))
        assert status == 130
        assert f"saved {stopped / 'checkpoint-00000007.safetensors'}" in error
        assert error.endswith(f"go on with: minidl train --resume {stopped}\n")
        status, error = failed(capsys, "train", *how)
        assert (status, "--output-dir" in error) == (130, True)
    assert main(["train", "--resume", "auto", "--output-dir", str(stopped)]) == 0
    assert bits(stopped) == bits(whole)


def test_resume_auto_begins_where_there_is_nothing(run: Path, tmp_path: Path) -> None:
    data = run.parent / "photos"
    assert bits(trained(tmp_path, "--epochs", "2", "--resume", "auto", data=data)) == bits(run)


def test_workers_and_memory_modes_change_no_bit(run: Path, tmp_path: Path) -> None:
    how = ["--epochs", "2", "-j", "1", "--memory", "naive"]
    assert bits(trained(tmp_path, *how, data=run.parent / "photos")) == bits(run)


def test_every_schedule_trains(run: Path, tmp_path: Path) -> None:
    rates = {}
    for name, flags in {
        "constant": (),
        "step": ("--lr-step-size", "1"),
        "multistep": ("--lr-milestones", "1", "--lr-gamma", "0.5"),
        "exponential": (),
        "one-cycle": (),
        "plateau": ("--lr-patience", "0"),
        "cosine": ("--lr-min", "0.01"),
    }.items():
        how = ["--lr-scheduler", name, "--epochs", "2", *flags]
        folder = trained(tmp_path, *how, data=run.parent / "photos", out=name)
        rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
        rates[name] = float(rows[-1]["learning_rate"])
    assert rates["constant"] == pytest.approx(0.02)
    assert rates["step"] == pytest.approx(0.002)
    assert rates["multistep"] == pytest.approx(0.01)
    assert rates["exponential"] == pytest.approx(0.019)
    assert 0 < rates["one-cycle"] < 1e-5
    assert 0.01 <= rates["cosine"] < 0.011


def test_everything_that_a_folder_can_get(run: Path, tmp_path: Path) -> None:
    how = ["--plot", "--tensorboard", "--print-freq", "2", "--label-smoothing", "0.1"]
    how += ["--epochs", "1", "--no-augment", "--check-finite", "--opt", "adamw"]
    where = trained(tmp_path, *how, data=run.parent / "photos")
    assert (where / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((where / "tensorboard").iterdir())
    assert len((where / "steps.csv").read_text().splitlines()) == 3
    assert (where / "report.html").exists()


def test_weights_of_other_classes_get_a_new_head(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data-path", "digits", "--model", "lenet", "--image", "32", "--epochs", "1"]
    status, error = failed(capsys, "train", *data, "--weights", str(run / WEIGHTS))
    assert (status, "shapes differ" in error) == (2, True)
    two = tmp_path / "two"
    for name in ("c0", "c1"):
        shutil.copytree(run.parent / "photos" / name, two / name)
    how = ["train", "--data-path", str(two), *SMALL, "--epochs", "1", "--weights"]
    status, error = failed(capsys, *how, str(run / WEIGHTS))
    assert (status, "--new-head" in error) == (2, True)
    assert main([*how, str(run / WEIGHTS), "--new-head"]) == 0


def test_predict_names_the_classes_and_the_broken_images(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sorted((run.parent / "photos" / "c1").iterdir())
    broken, gone = tmp_path / "broken.jpg", tmp_path / "gone.jpg"
    broken.write_bytes(good[0].read_bytes()[:100])
    grey = tmp_path / "grey.png"
    grey.write_bytes(encoded(Image.fromarray(pixels(40, 50)[..., 0]), "PNG"))
    files = [str(p) for p in (good[0], broken, gone, good[1], grey)]
    capsys.readouterr()
    assert main(["predict", "--run", str(run), "--top", "2", "-b", "2", *files]) == 1
    out, error = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == [files[0], files[3], files[4]]
    assert all(line.count(" %") == 2 for line in out.splitlines())
    lines = [line.split(": ")[1] for line in error.splitlines()]
    assert lines[:2] == [files[1], files[2]]
    assert lines[2].startswith("weights of epoch ")
    assert main(["predict", "--run", str(run), "--json", files[0]]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["file"] == files[0]
    assert {c["class"] for c in found["classes"]} == {"c0", "c1", "c2"}
    assert sum(c["probability"] for c in found["classes"]) == pytest.approx(1)
    assert f"{found['classes'][0]['class']} {100 * found['classes'][0]['probability']:.2f} %" in out


def test_predict_with_names_from_a_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("red\ngreen\nblue\n")
    image = str(next((run.parent / "photos" / "c1").iterdir()))
    capsys.readouterr()
    how = ["predict", "--weights", str(run / WEIGHTS), "--class-names", str(names), image]
    assert main(how) == 0
    assert {"red", "green", "blue"} <= set(capsys.readouterr().out.replace(",", "").split())
    names.write_text("red\ngreen\n")
    status, error = failed(capsys, *how)
    assert (status, "2 class names" in error) == (2, True)


@pytest.mark.parametrize("flags", [(), ("--channels-last", "--probabilities")])
def test_export_gives_the_probabilities_of_predict(
    run: Path, tmp_path: Path, flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    model, weights = tmp_path / "m.onnx", tmp_path / "w.safetensors"
    files = ["--onnx", str(model), "--safetensors", str(weights)]
    assert main(["export", "--run", str(run), "--checkpoint", "last", *files, *flags]) == 0
    assert bits(tmp_path, "w.safetensors") == bits(run)
    image = tmp_path / "p.png"
    shown = pixels(32, 32)
    image.write_bytes(encoded(shown, "PNG"))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    given = shown[np.newaxis] if flags else shown.transpose(2, 0, 1)[np.newaxis]
    (outputs,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(given)})
    row = outputs[0] if flags else np.exp(outputs[0]) / np.exp(outputs[0]).sum()
    capsys.readouterr()
    assert main(["predict", "--weights", str(weights), "--json", str(image)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    by_name = {c["class"]: c["probability"] for c in found["classes"]}
    assert [by_name[f"c{i}"] for i in range(3)] == pytest.approx(row.tolist(), abs=1e-5)


def test_arrays_of_bytes_and_of_floats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Grey bytes make a network with one channel; floats go in as they are."""
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 3, 30)
    grey = chance.integers(0, 256, (30, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "grey.npz", images=grey, labels=labels)
    np.savez(tmp_path / "floats.npz", images=grey[..., None] / np.float32(255), labels=labels)
    image = tmp_path / "p.png"
    image.write_bytes(encoded(pixels(28, 28), "PNG"))
    how = ["--model", "lenet", "-b", "8", "--epochs", "1", "--output-dir"]
    for name in ("grey", "floats"):
        data, where = str(tmp_path / f"{name}.npz"), str(tmp_path / name)
        assert main(["train", "--data-path", data, *how, where]) == 0
        assert "image 28x28x1" in capsys.readouterr().out
        assert main(["eval", "--run", where]) == 0
    assert main(["predict", "--run", str(tmp_path / "grey"), str(image)]) == 0
    status, error = failed(capsys, "predict", "--run", str(tmp_path / "floats"), str(image))
    assert (status, "--mean and --std" in error) == (2, True)
    constants = ["--mean", "0", "--std", "255"]
    assert main(["predict", "--run", str(tmp_path / "floats"), *constants, str(image)]) == 0
    status, error = failed(
        capsys, "eval", "--run", str(tmp_path / "grey"), "--data-path", str(tmp_path / "floats.npz")
    )
    assert (status, "float32, the network reads" in error) == (2, True)


def test_a_broken_image_ends_the_run_or_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = photos(tmp_path)
    broken = next((data / "c0").iterdir())
    broken.write_bytes(b"no image")
    how = ["train", "--data-path", str(data), *SMALL, "--epochs", "2"]
    status, error = failed(capsys, *how)
    assert (status, broken.name in error) == (1, True)
    assert main([*how, "--broken", "skip"]) == 0
    error = capsys.readouterr().err
    assert error.startswith(f"minidl train: skipped: {broken}")
    assert error.count("\n") == 1
