"""Copies: of each thing that people hold, copy.copy, copy.deepcopy and pickle make a whole one of
its own, or say how to have one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl import data, train
from minidl.interop import save_weights
from minidl.ir import Array
from minidl.placed.file import placed_to_dict
from minidl.predict import Predictor
from minidl.runtime.step import Step


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickled,
}

X = np.arange(8 * 6 * 6 * 2, dtype=np.float32).reshape(8, 6, 6, 2) / 576
Y = np.arange(8) % 3


def chain() -> dl.Sequential:
    layers = dl.Conv2d(4, 3), dl.BatchNorm2d(), dl.ReLU(), dl.Dropout(), dl.Flatten(), dl.Linear(3)
    return dl.Sequential(dl.Input((6, 6, 2)), *layers)


def shared() -> dl.Network:
    """A layer with weights at two places."""
    x, conv = dl.Input((6, 6, 2)), dl.Conv2d(2, 1)
    return dl.Network(x, dl.Linear(3)(dl.Flatten()(conv(conv(x, name="c"), name="c")), name="fc"))


def stepped() -> dl.Step:
    step = dl.compile(chain(), 4)
    step(X[:4], Y[:4])
    return step


def compiled_bits(network: Any) -> dict[str, bytes]:
    step = dl.compile(network, 4)
    step(X[:4], Y[:4])
    return {name: array.tobytes() for name, array in step.state_dict().items()}


def optimized_bits(optimizer: Any) -> dict[str, bytes]:
    step = dl.compile(chain(), 4, optimizer=optimizer)
    step(X[:4], Y[:4])
    return {name: array.tobytes() for name, array in step.variables_dict().items()}


def dataset() -> data.Dataset:
    return data.Dataset("x", ("a", "b", "c"), X, Y, X[:2], Y[:2])


def dataset_bits(given: data.Dataset) -> Any:
    return given.name, given.classes, given.train_images.tobytes(), given.test_labels.tobytes()


def loader(workers: int) -> data.Loader:
    made = data.Loader(data.Arrays(X, Y), 3, seed=1, workers=workers, copy=True)
    next(made.epoch(0))  # its workers are there
    return made


def batches_of(given: data.Loader) -> list[bytes]:
    """Two copies that share workers would end each other's epoch."""
    found = [images.tobytes() for images, _ in given.epoch(1)]
    given.close()
    return found


def ema() -> train.Ema:
    made, step = train.Ema(0.5), stepped()
    made.update(step)
    return made


def averaged(given: train.Ema) -> dict[str, bytes]:
    """Also moves it, which no copy may see."""
    found = {name: array.tobytes() for name, array in given.arrays.items()}
    given.update(dl.compile(chain(), 4, seed=9))
    return found


def metrics() -> train.Metrics:
    made = train.Metrics()
    made.add(np.eye(3), np.arange(3))
    return made


def measured(given: train.Metrics) -> Any:
    found = given.result()
    given.add(np.eye(3), np.array([1, 1, 1]))
    return found.count, found.loss, found.top1


def predictor() -> Predictor:
    step = dl.compile(dl.models.lenet(3, (32, 32, 1)), 1, seed=5)
    save_weights(WEIGHTS / "lenet.safetensors", step.state_dict())
    made = Predictor.load(WEIGHTS / "lenet.safetensors", model="lenet", classes=3, batch=2)
    assert made.step.plan.batch == 2
    return made


def probabilities(given: Predictor) -> bytes:
    return given.probabilities(np.ones((2, *given.card.image), np.uint8)).tobytes()


WEIGHTS = Path()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.WEIGHTS", tmp_path)


WHOLE: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "chain": (chain, compiled_bits),
    "network": (lambda: dl.models.lenet(3, (32, 32, 1)), lambda n: dl.plan(n, 2).to_json()),
    "network that shares": (shared, compiled_bits),
    "layer": (lambda: dl.Conv2d(4, 3, stride=2), repr),
    "loss": (lambda: dl.CrossEntropy(label_smoothing=0.1), repr),
    "SGD": (lambda: dl.SGD(0.1, 0.9, nesterov=True), optimized_bits),
    "AdamW": (lambda: dl.AdamW(0.1, (0.8, 0.9)), optimized_bits),
    "options": (lambda: dl.Options(budget="1GiB"), repr),
    "plan": (lambda: dl.plan(chain(), 4), lambda plan: placed_to_dict(plan, plan.modes)),
    "plan, cuda": (lambda: dl.plan(chain(), 4, device="cuda"), lambda plan: plan.table()),
    "plan of a step": (lambda: stepped().plan, lambda plan: plan.summary().rows),
    "dataset": (dataset, dataset_bits),
    "source": (lambda: data.Arrays(X, Y), lambda s: (s.images.tobytes(), s.classes)),
    "splits": (lambda: data.held_out(data.Arrays(X, Y)), lambda s: s.test.read(0).tobytes()),
    "transform": (lambda: data.RandomResizedCrop(8), repr),
    "loader": (lambda: loader(0), batches_of),
    "loader with workers": (lambda: loader(1), batches_of),
    "Shuffled": (
        lambda: train.Shuffled(X, Y, 3, seed=1),
        lambda feed: [batch[0].tobytes() for batch in feed.epoch(1)],
    ),
    "schedule": (lambda: train.Warmup(train.Cosine(), epochs=2), repr),
    "ema": (ema, averaged),
    "metrics": (metrics, measured),
    "predictor": (predictor, probabilities),
    "error": (lambda: dl.ArgumentError("what", "hint"), lambda e: (str(e), e.hint)),
}
"""What is copied whole: how it is made, and what it is worth. Asking may change the one asked."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WHOLE)
def test_a_copy_is_whole_and_its_own(name: str, way: str) -> None:
    build, worth = WHOLE[name]
    original = build()
    other, third = WAYS[way](original), WAYS[way](original)
    expected = worth(build())
    assert [worth(it) for it in (other, original, third)] == [expected] * 3


def trainer() -> train.Trainer:
    return train.Trainer(stepped(), quiet=True)


ONE: dict[str, tuple[Callable[[], Any], str]] = {
    "step": (stepped, "a Step is not copied or pickled: compile the network again"),
    "step that never ran": (lambda: dl.compile(chain(), 4), "a Step is not copied or pickled"),
    "trainer": (trainer, "a (Trainer|Step) is not copied or pickled"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ONE)
def test_a_copy_that_would_share_is_refused(name: str, way: str) -> None:
    build, message = ONE[name]
    with pytest.raises(dl.ArgumentError, match=message) as caught:
        WAYS[way](build())
    assert caught.value.hint


@pytest.mark.parametrize("way", WAYS)
def test_what_holds_a_step_is_refused_with_it_or_shares_it(way: str) -> None:
    """A list of steps is the user's own: its shallow copy has the same steps."""
    steps = [stepped()]
    if way == "copy":
        assert WAYS[way](steps)[0] is steps[0]
        return
    with pytest.raises(dl.ArgumentError, match="a Step is not copied"):
        WAYS[way](steps)


def test_the_way_out_is_one() -> None:
    """What the hint says gives a step that goes on to the same bits."""
    step = stepped()
    other = dl.compile(chain(), 4, seed=3)
    assert isinstance(other, Step)
    other.load_variables(step.variables_dict())
    assert [step(X[4:], Y[4:]) for _ in range(3)] == [other(X[4:], Y[4:]) for _ in range(3)]
    bits: list[dict[str, Array]] = [s.variables_dict() for s in (step, other)]
    assert all(bits[0][name].tobytes() == bits[1][name].tobytes() for name in bits[0])
