"""Every memory mode trains to the bits of `naive`: every layer's cases, real models on digits."""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable

import numpy as np
import pytest

import minidl as dl
import tests.layers
from minidl.compiler import planner
from minidl.compiler.modes import MODES
from minidl.data import digits
from minidl.ir import ArgumentError, Array, Shape, Variable
from minidl.layers.base import Layer, Node
from minidl.placed.graph import PlacedGraph
from tests.drawn import drawn
from tests.layers.harness import Case
from tests.training import (
    OTHER_MODES,
    Batch,
    assert_same_bits_in_every_mode,
    random_batches,
    train,
)

pytestmark = pytest.mark.usefixtures("quick_placement")

CLASSES = 3


def layer_cases() -> dict[str, Case]:
    """The CASES of every module of tests/layers, by module and id."""
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules(tests.layers.__path__):
        if module.name.startswith("test_"):
            table = importlib.import_module(f"tests.layers.{module.name}")
            for case in getattr(table, "CASES", ()):
                found[f"{module.name.removeprefix('test_')}-{case.id}"] = case
    return found


CASES = layer_cases()


def generator_of(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def sources(shapes: tuple[Shape, ...]) -> tuple[Node, list[Node]]:
    """An input, and for each shape a trainable layer that makes it of that input."""
    if len(shapes[0]) == 4:
        x = dl.Input((*shapes[0][1:3], 2))
        return x, [dl.Conv2d(shape[3], 1)(x) for shape in shapes]
    x = dl.Input(3)
    return x, [dl.Linear(shape[-1])(x) for shape in shapes]


def around(layer: Layer, shapes: tuple[Shape, ...], relu: bool) -> dl.Network:
    """The layer between trainable ones, and between ReLUs if asked."""
    x, inputs = sources(shapes)
    y = layer(*(dl.ReLU()(node) if relu else node for node in inputs))
    y = dl.ReLU()(y) if relu else y
    if len(layer.output_shape(*shapes)) == 4:
        y = dl.Flatten()(y)
    return dl.Network(x, dl.Linear(CLASSES)(y))


def test_every_layer_has_cases() -> None:
    kinds = {type(case.layer()) for case in CASES.values()}
    published = {getattr(dl, name) for name in dl.__all__}
    layers = {k for k in published if isinstance(k, type) and issubclass(k, Layer)}
    assert layers - kinds == {Layer, dl.Loss, dl.Network, dl.Sequential}


LAYERS = [name for name, case in CASES.items() if not isinstance(case.layer(), dl.Loss)]


@pytest.mark.parametrize("name", LAYERS)
def test_layer_within_a_network(name: str) -> None:
    """Half of the layers alone, the others between ReLUs; in other sessions other ones."""
    case, relu = CASES[name], name in drawn(LAYERS, 2)
    shapes = tuple((1, *s) if len(s) == 1 else s for s in case.shapes)  # one sample has a shape
    network = around(case.layer(), shapes, relu)
    data = random_batches(generator_of(name), shapes[0][0], network.image, CLASSES)
    assert_same_bits_in_every_mode(network, data, scratch_limit=case.scratch_limit)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if isinstance(c.layer(), dl.Loss)])
def test_loss_behind_a_network(name: str) -> None:
    case, generator = CASES[name], generator_of(name)
    x, (y,) = sources(case.shapes[:1])
    data: list[Batch] = []
    for _ in range(2):
        _, target = case.draw(generator, case.shapes)
        data.append((generator.normal(size=(case.shapes[0][0], *x.shape)), target))
    loss = case.layer()
    assert isinstance(loss, dl.Loss)
    assert_same_bits_in_every_mode(dl.Network(x, y), data, loss=loss)


# -- optimizers ------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": dl.SGD(0.05),
    "sgd-decay": dl.SGD(0.05, weight_decay=0.01),
    "momentum": dl.SGD(0.05, momentum=0.9, weight_decay=5e-4),
    "nesterov": dl.SGD(0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
    "adam": dl.Adam(0.01),
    "adam-decay": dl.Adam(0.01, weight_decay=0.01),
    "adamw": dl.AdamW(0.01),
}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name: str, precision: str) -> None:
    """Tiles of a convolution's and a large matrix's gradient, and a layer that is used twice."""
    x = dl.Input((8, 8, 3))
    twice = dl.Conv2d(6, 3, padding=1)
    y = dl.MaxPool2d(2)(dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(6, 3, padding=1)(x))))
    y = dl.ReLU()(twice(dl.ReLU()(twice(y))))
    y = dl.Dropout(0.3)(dl.ReLU()(dl.Linear(130)(dl.Flatten()(y))))
    network = dl.Network(x, dl.Linear(CLASSES)(y))
    data = random_batches(generator_of(name), 5, (8, 8, 3), CLASSES, count=4)
    assert_same_bits_in_every_mode(network, data, optimizer=OPTIMIZERS[name], precision=precision)


# -- real models -----------------------------------------------------------------------------------

REAL: dict[str, tuple[Callable[..., dl.Network], int]] = {
    "alexnet": (dl.models.alexnet, 64),
    "vgg11": (dl.models.vgg11, 32),
    "resnet18": (dl.models.resnet18, 64),
}


class Repeating:
    """Normal and uniform numbers that repeat: first values of 10^8 weights in no time."""

    def __init__(self, seed: int, variable: Variable) -> None:
        name = zlib.crc32(variable.name.encode())
        self.generator = np.random.default_rng([seed, name])

    def normal(self, mean: float, std: float, shape: Shape) -> Array:
        return np.resize(self.generator.normal(mean, std, 65521).astype(np.float32), shape)

    def uniform(self, low: float, high: float, shape: Shape) -> Array:
        return np.resize(self.generator.uniform(low, high, 65521).astype(np.float32), shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
def test_real_model_on_digits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five steps, dropout on where the model has it; half of the modes in a session."""
    monkeypatch.setattr("minidl.runtime.step._generator", Repeating)
    build, size = REAL[name]
    image, batch = (size, size, 3), 4
    data = digits(image)
    batches = [
        (data.train_images[i : i + batch], data.train_labels[i : i + batch])
        for i in range(0, 5 * batch, batch)
    ]
    modes = drawn(OTHER_MODES, 2)
    assert_same_bits_in_every_mode(build(classes=10, image=image), batches, modes=modes)


# -- the table of modes ----------------------------------------------------------------------------


def test_modes_differ_in_bytes_and_arena_is_least() -> None:
    plan = dl.plan(dl.models.vgg11(image=(64, 64, 3)), 8, device="cuda")
    assert list(plan.modes) == ["naive", "caffe", "liveness", "fujitsu2016", "arena"]
    assert plan.arena_bytes == plan.modes["arena"] == min(plan.modes.values())
    assert len(set(plan.modes.values())) == len(plan.modes)


def test_other_modes_are_planned_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that only runs needs none; its own mode is known from the first."""
    planned: list[str] = []
    plan_one = planner.Planner.plan

    def counted(self: planner.Planner) -> PlacedGraph:
        planned.append(self.options.memory)
        return plan_one(self)

    monkeypatch.setattr(planner.Planner, "plan", counted)
    network = dl.Sequential(dl.Input(3), dl.Linear(2))
    step = dl.compile(network, 2)
    assert planned == ["arena", "arena"]  # of training and of prediction
    assert step.plan.modes["arena"] == step.plan.arena_bytes
    assert planned[2:] == [name for name in MODES if name != "arena"]
    dict(step.plan.modes)
    assert len(planned) == 2 + len(MODES) - 1


def test_another_seed_is_another_run() -> None:
    network = dl.Sequential(dl.Input((4, 4, 1)), dl.Flatten(), dl.Dropout(), dl.Linear(CLASSES))
    data = random_batches(generator_of("seed"), 4, (4, 4, 1), CLASSES)
    one, other = (train(network, data, "arena", seed=seed) for seed in (0, 1))
    assert one == train(network, data, "arena", seed=0)
    assert one.losses != other.losses


def test_an_unknown_mode_is_refused() -> None:
    network = dl.Sequential(dl.Input(3), dl.Linear(2))
    for build in (dl.plan, dl.compile):
        with pytest.raises(ArgumentError, match=rf"'frugal'.*{', '.join(MODES)}"):
            build(network, 2, memory="frugal")
    assert set(OTHER_MODES) == set(MODES) - {"naive"}
