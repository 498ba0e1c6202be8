"""predict on folders, into tables, and with the names of ImageNet."""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl.cli import main
from minidl.files.tables import runs, write_table
from minidl.interop import save_weights
from minidl.ir import ArgumentError
from minidl.predict import Predictor, Trained, image_files
from minidl.predict.imagenet import imagenet_names
from tests.cli.runs import failed, run
from tests.data.images import encoded, pixels

__all__ = ["run"]

IMAGE = encoded(pixels(36, 40), "PNG")


def tree(root: Path) -> Path:
    """Images in folders in folders, litter, and a link that leads around."""
    for name in ("b/2.png", "b/10.PNG", "a/deep/er/x.jpeg", "c.jpg", "=1+1.png", "b/broken.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no image" if "broken" in name else IMAGE)
    for name in ("b/notes.txt", ".DS_Store", "__MACOSX/b/2.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(IMAGE)
    (root / "none").mkdir()
    os.symlink(root, root / "a" / "around")
    return root


GOOD = ["=1+1.png", "c.jpg", "a/deep/er/x.jpeg", "b/10.PNG", "b/2.png"]
"""In order: a folder's own, then those of its folders."""


def test_a_folder_is_all_its_images(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree(tmp_path / "new")
    capsys.readouterr()
    assert main(["predict", "--run", str(run), "--top", "1", str(root), str(root / "c.jpg")]) == 1
    out, err = capsys.readouterr()
    names = [str(root / name) for name in (*GOOD, "c.jpg")]
    assert [line.split(": ")[0] for line in out.splitlines()] == names
    *notes, broken, which = err.splitlines()
    assert notes == [
        f"minidl predict: {root}: 2 files passed over: .DS_Store, b/notes.txt",
        f"minidl predict: {root}: 2 folders passed over: __MACOSX, a/around",
    ]
    assert which.startswith("minidl: weights of ")
    assert broken.startswith(f"minidl predict: {root / 'b' / 'broken.jpg'}: ")


def test_folders_without_images(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree(tmp_path / "new")
    status, error = failed(capsys, "predict", "--run", str(run), str(root / "none"))
    assert (status, f"no image in {root / 'none'}; expected .jpg" in error) == (2, True)
    found = image_files([root / "none", root / "c.jpg"])
    assert found.paths == (root / "c.jpg",)
    assert found.notes == (f"{root / 'none'}: no image in it",)
    assert image_files(str(root / "c.jpg")).paths == (root / "c.jpg",)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="paths must be a path, or an iterable"):
        image_files(5)  # type: ignore[arg-type]


def test_a_script_may_name_folders(run: Path, tmp_path: Path) -> None:
    root = tree(tmp_path / "new")
    (root / "b" / "broken.jpg").unlink()
    with pytest.warns(UserWarning, match="passed over") as noted:
        answers = list(Predictor.load(run).predict([root], 1))
    assert [answer.name for answer in answers] == [str(root / name) for name in GOOD]
    assert {Path(w.filename).name for w in noted} == {Path(__file__).name}


def test_a_table_has_what_json_has(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tree(tmp_path / "new")
    monkeypatch.chdir(root)
    table = tmp_path / "found.csv"
    how = ["predict", "--run", str(run), "--top", "2", "=1+1.png", "a/deep", "b"]
    assert main([*how, "--json"]) == 1
    expected = json.loads(capsys.readouterr().out)
    assert main([*how, "--csv", str(table)]) == 1
    assert capsys.readouterr().out == f"4 images: {table}\n"
    assert main([*how, "--csv", "-"]) == 1
    printed = capsys.readouterr().out
    assert table.read_bytes() == printed.replace("\n", "\r\n").encode()
    head, *rows = csv.reader(io.StringIO(printed))
    assert head == ["file", "class", "probability", "class_2", "probability_2"]
    assert rows[0][0] == "./=1+1.png"
    assert [row[0].removeprefix("./") for row in rows] == [each["file"] for each in expected]
    for row, each in zip(rows, expected, strict=True):
        assert [row[1], row[3]] == [c["class"] for c in each["classes"]]
        assert [float(row[2]), float(row[4])] == [c["probability"] for c in each["classes"]]


def test_names_that_are_quoted_or_formulas(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ['=HYPERLINK("x")', 'a, "b"', "-1"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    (tmp_path / "c.png").write_bytes(IMAGE)
    how = ["predict", "--weights", str(run / "weights.safetensors")]
    how += ["--class-names", str(tmp_path / "names.txt"), str(tmp_path / "c.png")]
    assert main([*how, "--csv", "-"]) == 0
    out, err = capsys.readouterr()
    row = list(csv.reader(io.StringIO(out)))[1]
    assert sorted(row[1::2]) == sorted([f"'{names[0]}", *names[1:]])
    said = f"minidl: written with ' in front, since formulas begin so: {names[0]}\n"
    assert err == said
    for name in names:
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "c.png").write_bytes(IMAGE)
    table, data = tmp_path / "t.csv", ["--data-path", str(tmp_path / "data"), "--split", "all"]
    assert main(["eval", *how[1:5], *data, "-j", "0", "--confusion", str(table)]) == 0
    assert capsys.readouterr().err == said
    with table.open(newline="") as file:
        assert next(csv.reader(file)) == ["class", f"'{names[0]}", *names[1:]]


@pytest.mark.parametrize(("word", "is_one"), [
    ("=1", True), ("+cmd|x", True), ("-a", True), ("@SUM(1)", True), ("\t=1", True), ("\r=1", True),
    ("\uff1d1", True), ("-1", False), ("+2e3", False), ("a=1", False), ("", False), ("'=1", False),
])  # fmt: skip
def test_what_a_spreadsheet_would_run(word: str, is_one: bool, tmp_path: Path) -> None:
    assert runs(word) == is_one
    write_table(tmp_path / "t.csv", [[word, -1, None]])
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["'" * is_one + word, "-1", ""]]


def test_where_a_table_cannot_be(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before anything is read."""
    (tmp_path / "c.png").write_bytes(IMAGE)
    how = ["predict", "--run", str(run / "none"), str(tmp_path / "c.png"), "--csv"]
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "no" / "t.csv", "No such file")):
        status, error = failed(capsys, *how, str(path))
        assert (status, f"{path}: {words}" in error) == (1, True)
    status, error = failed(capsys, *how, "-", "--json")
    assert (status, "--csv - and --json both print" in error) == (2, True)


# -- ImageNet --------------------------------------------------------------------------------------


def test_the_names_of_imagenet() -> None:
    """Known ones at their places, as published networks have them."""
    names = imagenet_names()
    assert len(names) == len(set(names)) == 1000
    known = {0: "tench", 1: "goldfish", 134: "crane bird", 207: "golden retriever", 281: "tabby"}
    known |= {517: "crane", 638: "maillot", 639: "maillot tank suit", 954: "banana"}
    known[999] = "toilet tissue"
    assert {i: names[i] for i in known} == known
    assert all(name == name.strip() and name for name in names)


def of_1000(path: Path, classes: int = 1000) -> Path:
    """Weights that nobody trained."""
    step = dl.compile(dl.models.vgg_small(classes), 1)
    save_weights(path, step.state_dict())
    return path


def test_weights_that_name_no_classes_get_those_of_imagenet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = of_1000(tmp_path / "w.safetensors")
    (tmp_path / "c.png").write_bytes(IMAGE)
    (tmp_path / "names.txt").write_text("\n".join(f"own {i}" for i in range(1000)))
    how = [
        "predict",
        "--weights",
        str(weights),
        "--model",
        "vgg_small",
        "--classes",
        "1000",
        "--json",
    ]
    how.append(str(tmp_path / "c.png"))
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as for people
        assert main(how) == 0
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert f"{weights}: the class names are assumed, ImageNet's 1,000" in err
    own = Predictor.load(weights, model="vgg_small", names=["x"] * 1000)
    labels = [guess.label for guess in next(own.predict([tmp_path / "c.png"])).guesses]
    names = [c["class"] for c in json.loads(out)[0]["classes"]]
    assert names == [imagenet_names()[label] for label in labels]
    assert main([*how, "--class-names", str(tmp_path / "names.txt")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [c["class"] for c in json.loads(out)[0]["classes"]] == [f"own {i}" for i in labels]


def test_they_are_assumed_nowhere_else(tmp_path: Path) -> None:
    """Not written into other files, nor for other networks, nor for what a run says."""
    weights = of_1000(tmp_path / "w.safetensors")
    found = Trained.at(weights, model="vgg_small", classes=1000)
    assert (len(found.assumed), found.card.names) == (1000, ())
    assert Trained.at(weights, model="vgg_small", names=["n"] * 1000).assumed == ()
    assert Trained.at(weights, model="vgg_small", classes=999).assumed == ()
    assert Trained.at(weights, model="lenet", classes=1000).assumed == ()
    Predictor(found).save_weights(tmp_path / "own.safetensors")
    again = Trained.at(tmp_path / "own.safetensors")
    assert (again.card.names, again.assumed) == ((), ())
    assert np.array_equal(again.card.image, (32, 32, 3))
