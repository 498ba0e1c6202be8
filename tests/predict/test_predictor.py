"""A trained network in a script, without the command line: asked, measured, exported."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import minidl as dl
from minidl.data import BrokenImageError, Splits, open_data
from minidl.interop import load_weights, read_weights, save_weights
from minidl.ir import ArgumentError, Array, CheckpointError, ShapeError
from minidl.predict import (
    ModelCard,
    Predictor,
    Trained,
    card_for,
    description,
    evaluation_loader,
    labels_of,
    softmax,
    training_loader,
    write_confusion,
)
from minidl.train import Ema, Trainer, checkpoint
from tests.data.images import encoded, folder_of, pixels
from tests.docs.pages import blocks, page, under

SIDE = 32


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("predict") / "photos", classes=3, each=8)


@pytest.fixture(scope="module")
def run(photos: Path) -> Path:
    """A run of a script, as `minidl train` keeps one."""
    splits = open_data(photos)
    card = card_for("lenet", splits, image=SIDE)
    step = dl.compile(card.network(), 4, optimizer=dl.SGD(0.02, 0.9))
    folder = photos.parent / "run"
    about = {"about": card.as_dict(), "flags": {"data_path": str(photos), "seed": 0}}
    trainer = Trainer(step, output_dir=folder, arguments=about, ema=Ema(0.5), quiet=True)
    with training_loader(card, splits.train, 4, workers=0) as train:
        trainer.fit(train, None, 2)
    header = description(card, about["flags"])  # type: ignore[arg-type]
    save_weights(folder / "weights.safetensors", step.state_dict(), header)
    return folder


def files_of(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.*"))[:5]


def by_hand(run: Path, paths: list[Path]) -> Array:
    """Outputs of the network for images, by the parts that the Predictor is made of."""
    card = ModelCard.of(json.loads((run / "args.json").read_text())["arguments"]["about"])
    step = dl.compile(card.network(), len(paths))
    load_weights(step, run / "weights.safetensors")
    return step.predict(np.stack([card.see(p.read_bytes(), p.name) for p in paths]))


@pytest.mark.parametrize("where", ["run", "checkpoint", "weights"])
def test_the_same_answers_from_wherever_the_weights_are(
    where: str, run: Path, photos: Path
) -> None:
    path = {"run": run, "checkpoint": checkpoint.found(run)[-1]}.get(
        where, run / "weights.safetensors"
    )
    network, paths = Predictor.load(path, batch=2), files_of(photos)
    answers = list(network.predict(paths, top=2))
    rows = softmax(by_hand(run, paths))
    assert [answer.name for answer in answers] == list(map(str, paths))
    for answer, row in zip(answers, rows, strict=True):
        best = np.argsort(-row, kind="stable")[:2]
        assert [guess.label for guess in answer.guesses] == best.tolist()
        assert [guess.name for guess in answer.guesses] == [f"c{i}" for i in best]
        found = [guess.probability for guess in answer.guesses]
        np.testing.assert_allclose(found, row[best], rtol=1e-5)
        assert answer.best == answer.guesses[0]


def test_averaged_weights(run: Path, photos: Path) -> None:
    averaged = checkpoint.read(checkpoint.found(run)[-1])[1].arrays["ema"]
    found = Predictor.load(run, averaged=True).step.state_dict()
    plain = Predictor.load(run).step.state_dict()
    assert all(np.array_equal(found[name], array) for name, array in averaged.items())
    assert any(not np.array_equal(found[name], plain[name]) for name in plain)
    with pytest.raises(ArgumentError, match="weights-averaged"):
        Predictor.load(run / "weights.safetensors", averaged=True)


def test_softmax_of_any_outputs() -> None:
    outputs = np.array([[1e4, 0, -1e4], [1, 1, 1]], np.float32)
    np.testing.assert_allclose(softmax(outputs), [[1, 0, 0], [1 / 3] * 3], atol=1e-12)


def test_a_file_that_cannot_be_read_ends_it_or_is_told(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    broken, missing, good = tmp_path / "b.jpg", tmp_path / "m.jpg", files_of(photos)[0]
    broken.write_bytes(b"no image")
    network = Predictor.load(run)
    with pytest.raises(BrokenImageError, match=r"b\.jpg"):
        list(network.predict([good, broken]))
    with pytest.raises(FileNotFoundError):
        list(network.predict([missing]))
    told: list[Path] = []
    answers = list(
        network.predict([broken, good, missing], unreadable=lambda path, _: told.append(path))
    )
    assert [answer.name for answer in answers] == [str(good)]
    assert told == [broken, missing]


def measured(network: Predictor, splits: Splits) -> tuple[int, int]:
    """How many of all images are right, one after the other."""
    right = count = 0
    names = [network.card.name_of(i) for i in range(network.card.classes)]
    for source in (splits.train, splits.test):
        for i, label in enumerate(source.labels):
            raw = source.read(i)
            assert isinstance(raw, bytes)
            rows = network.probabilities(network.card.see(raw, "x")[np.newaxis])
            right += names[int(rows[0].argmax())] == source.classes[label]
            count += 1
    return right, count


def test_evaluate_counts_what_predict_says(run: Path, photos: Path, tmp_path: Path) -> None:
    network = Predictor.load(run, batch=8)
    images = network.images()
    found = network.evaluate(images, "all", workers=0)
    right, count = measured(network, images)
    assert found.count == count == 24
    assert found.top1 == right / count
    assert found.confusion is not None
    write_confusion(tmp_path / "c.csv", network.card, found.confusion)
    rows = list(csv.reader((tmp_path / "c.csv").read_text().splitlines()))
    assert rows[0] == [row[0] for row in rows] == ["class", "c0", "c1", "c2"]
    assert [[int(n) for n in row[1:]] for row in rows[1:]] == found.confusion.tolist()
    parts = [network.evaluate(images, split, workers=0) for split in ("train", None)]
    assert [part.count for part in parts] == [20, 4]
    with pytest.raises(ArgumentError, match="no split 'val' in it: choose from train, held-out"):
        network.evaluate(images, "val")


def test_labels_are_matched_by_name() -> None:
    card = ModelCard("lenet", 3, (32, 32, 3), names=("a", "b", "c"))
    assert labels_of(card, ("c", "a"), "x").tolist() == [2, 0]
    assert labels_of(card, card.names, "x").tolist() == [0, 1, 2]
    assert labels_of(ModelCard("lenet", 2, (32, 32, 3)), ("x", "y"), "x").tolist() == [0, 1]
    with pytest.raises(ArgumentError, match="does not know: d"):
        labels_of(card, ("a", "d"), "x")
    with pytest.raises(ArgumentError, match="no names are known: say them with names="):
        labels_of(ModelCard("lenet", 2, (32, 32, 3)), ("x", "y", "z"), "x")


def test_export_and_weights_go_elsewhere_and_come_back(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    network = Predictor.load(run)
    network.export_onnx(tmp_path / "m.onnx", channels_last=True, probabilities=True)
    raw = encoded(pixels(SIDE, SIDE), "PNG")
    image = network.card.see(raw, "x")[np.newaxis]
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"input": image})
    np.testing.assert_allclose(rows, network.probabilities(image), atol=1e-5)
    network.save_weights(tmp_path / "w.safetensors")
    again = Predictor.load(tmp_path / "w.safetensors")
    assert again.card == network.card
    assert again.images().name == str(photos)
    np.testing.assert_array_equal(again.probabilities(image), network.probabilities(image))
    state = network.step.state_dict()
    found = read_weights(tmp_path / "w.safetensors")
    assert {n: a.tobytes() for n, a in found.items()} == {n: a.tobytes() for n, a in state.items()}


def test_weights_of_others_are_told_their_network(run: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "w", read_weights(run / "weights.safetensors"))
    with pytest.raises(
        ArgumentError, match="which network these weights are of: say it with model="
    ):
        Predictor.load(tmp_path / "w")
    network = Predictor.load(tmp_path / "w", model="lenet", image=SIDE, names=["x", "y", "z"])
    assert network.card.image == (SIDE, SIDE, 1)
    assert network.card.classes == 3
    with pytest.raises(dl.ShapeError, match="shapes differ"):
        _ = network.step
    with pytest.raises(ArgumentError, match="of lenet, not of alexnet"):
        Predictor.load(run, model="alexnet")
    with pytest.raises(ArgumentError, match="2 class names do not fit 3 classes"):
        Predictor.load(run, names=["x", "y"])
    with pytest.raises(ArgumentError, match="which images are meant: say it with path="):
        Predictor(Trained(network.card, tmp_path / "w")).images()


def test_published_googlenet_is_normalised_as_it_was_trained(tmp_path: Path) -> None:
    """torchvision's transform_input: (x / 255 - 0.5) / 0.5; said, and not of other models."""
    save_weights(tmp_path / "w", {"a": np.zeros(1)})
    with pytest.warns(UserWarning, match=r"mean 127\.5 and std 127\.5.*transform_input"):
        card = Trained.at(tmp_path / "w", model="googlenet").card
    assert (card.mean, card.std) == ((127.5,) * 3, (127.5,) * 3)
    own = Trained.at(tmp_path / "w", model="googlenet", mean=(1.0,), std=(2.0,)).card
    assert (own.mean, own.std) == ((1.0,), (2.0,))
    assert Trained.at(tmp_path / "w", model="resnet18").card.mean == (123.675, 116.28, 103.53)


def test_nothing_is_compiled_or_read_before_it_is_needed(run: Path, tmp_path: Path) -> None:
    card = ModelCard("lenet", 3, (SIDE, SIDE, 3))
    network = Predictor(Trained(card, tmp_path / "nowhere"), device="nowhere")
    with pytest.raises(ArgumentError, match="unknown device 'nowhere'"):
        _ = network.step
    with pytest.raises(FileNotFoundError):
        Predictor.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="nowhere"):
        Trained.at(tmp_path / "nowhere", run=True)


BAD: list[Any] = [
    {"model": "lenet"},
    {"model": "none", "classes": 3, "image": [32, 32, 3]},
    {"model": "lenet", "classes": 3, "image": [32, 32]},
    {"model": "lenet", "classes": 3, "image": 32},
    {"model": ["lenet"], "classes": 3, "image": [32, 32, 3]},
    {"model": "lenet", "classes": 3, "image": [32, 32, 3], "names": ["a"]},
    {"model": "lenet", "classes": 3, "image": [32, 32, 3], "surprise": 1},
    [],
]


@pytest.mark.parametrize("about", BAD, ids=str)
def test_a_card_that_is_none(about: Any, tmp_path: Path) -> None:
    header = {"minidl": json.dumps({"about": about})}
    save_weights(tmp_path / "w", {"a": np.zeros(1)}, header)
    with pytest.raises(CheckpointError, match="says nothing of use about its network"):
        Trained.at(tmp_path / "w")


def test_how_images_are_seen(photos: Path, tmp_path: Path) -> None:
    splits = open_data(photos)
    card = card_for("lenet", splits, image=SIDE)
    assert ModelCard.of(json.loads(json.dumps(card.as_dict()))) == card
    assert card.names == ("c0", "c1", "c2")
    assert card_for("alexnet", splits, classes=7).names == ()
    with pytest.raises(ArgumentError, match="has 3 classes, more than the 2 asked for"):
        card_for("lenet", splits, classes=2)
    images, _ = next(iter(evaluation_loader(card, splits.test, 9, workers=0).epoch(0)))
    raw = splits.test.read(0)
    assert isinstance(raw, bytes)
    np.testing.assert_array_equal(images[0], card.see(raw, "x"))
    grey = ModelCard("lenet", 3, (SIDE, SIDE, 1), mean=(100.0,), std=(50.0,))
    assert grey.see(raw, "x").shape == (SIDE, SIDE, 1)
    floats = ModelCard("lenet", 3, (SIDE, SIDE, 1), reads="float32", mean=(100.0,), std=(50.0,))
    np.testing.assert_allclose(
        floats.see(raw, "x"), (grey.see(raw, "x") - np.float32(100)) / np.float32(50), rtol=1e-6
    )
    blind = ModelCard("lenet", 3, (SIDE, SIDE, 1), reads="float32")
    with pytest.raises(ArgumentError, match="becomes one: say it with mean= and std="):
        blind.see(raw, "x")


def test_the_script_of_the_page(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """docs/cli.md, in a folder with a run, two images and some photos."""
    (code,) = blocks(under(page("docs/cli.md"), "## From a script"), "python")
    for name, kind in (("cat.jpg", "JPEG"), ("dog.png", "PNG")):
        (tmp_path / name).write_bytes(encoded(pixels(40, 40), kind))
    os.symlink(run, tmp_path / "run")
    os.symlink(photos, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "cli.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:2]] == ["cat.jpg", "dog.png"]
    assert said[2].startswith("24 images, top-1 ")
    assert Predictor.load("model.safetensors").card.model == "lenet"
    assert (tmp_path / "model.onnx").is_file()


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_network_whose_training_needs_two_images_answers_for_one(batch: int) -> None:
    seed = int(np.random.default_rng().integers(2**31))
    images = np.random.default_rng(seed).normal(size=(5, 1, 1, 4)).astype(np.float32)
    net = dl.Sequential(dl.Input((1, 1, 4)), dl.BatchNorm2d(), dl.Flatten(), dl.Linear(3))
    step = dl.compile(net, 2, optimizer=dl.SGD(), seed=seed)
    asked = _asked(net, step, batch)
    for count in (1, batch, 5):
        expected = softmax(step.predict(images[:count]))
        np.testing.assert_allclose(
            asked.probabilities(images[:count]), expected, atol=1e-6, err_msg=f"seed {seed}"
        )


def test_a_shape_that_never_fits_is_refused_all_the_same() -> None:
    asked = _asked(dl.Sequential(dl.Input((2, 2, 4)), dl.Conv2d(4, 5)), None, batch=1)
    with pytest.raises(ShapeError):
        _ = asked.step


def _asked(net: dl.Sequential, step: dl.Step | None, batch: int) -> Predictor:
    """A predictor of a network that is in no zoo, with the weights of a step."""

    class Known(Trained):
        def load(self, other: dl.Step) -> None:
            assert step is not None
            other.load_state_dict(step.state_dict())

    asked = Predictor(Known.__new__(Known), batch=batch)
    asked.__dict__["network"] = net
    return asked
