"""The real models, trained: every figure against PyTorch in double precision (`make_reference`).

The float64 runs are the sharp test of every formula: they differ from the reference by rounding
alone. The float32 runs show that single precision loses no more than it must. What was measured
uses at most a hundredth of a float64 bound and a tenth of a float32 bound. The nets of many ReLUs
have wider bounds in float32: where one input is rounded across 0, a gradient jumps. In resnet50,
googlenet and densenet121 that grows from step to step, so they are trained in float64 only.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

import minidl as dl
from minidl import models
from tests.models.cases import (
    BATCH,
    CLASSES,
    FILE,
    IMAGES,
    SGD,
    STEPS,
    Array,
    Figures,
    Shape,
    batches,
    figures,
    initials,
)


@dataclass(frozen=True)
class Case:
    """A model in one precision, and what its figures may differ by."""

    model: str
    precision: str
    outputs: float
    """Logits, of their largest; losses, of themselves."""
    change: float
    """An element's change in training, of the root mean square over its tensor; the logits then."""

    def __str__(self) -> str:
        return f"{self.model}-{self.precision}"


CASES = [
    Case("lenet", "float64", 1e-11, 1e-11),
    Case("alexnet", "float64", 1e-11, 1e-11),
    Case("alexnet_2012", "float64", 1e-11, 1e-11),
    Case("resnet18", "float64", 1e-11, 1e-10),
    Case("resnet50", "float64", 1e-8, 1e-7),
    Case("googlenet", "float64", 1e-8, 1e-7),
    Case("densenet121", "float64", 1e-8, 1e-7),
    Case("lenet", "float32", 2e-5, 1e-4),
    Case("alexnet", "float32", 5e-5, 1e-3),
    Case("alexnet_2012", "float32", 5e-5, 1e-3),
    Case("vgg11", "float32", 5e-5, 1e-2),
    Case("vgg11_bn", "float32", 1e-4, 5e-2),
    Case("resnet18", "float32", 1e-4, 5e-2),
]


@dataclass(frozen=True)
class Trained:
    """What minidl finds: the parts of the reference, and the largest first value of each tensor."""

    shapes: dict[str, Shape]
    logits: Array
    losses: list[float]
    logits_after: Array
    tensors: dict[str, Figures]
    largest: dict[str, float]


@cache
def reference() -> dict[str, Figures]:
    loaded: dict[str, Figures] = json.loads(FILE.read_text())
    return loaded


@cache
def trained(case: Case) -> Trained:
    """Train once; the tests of a case look at the same run."""
    step = compiled(case)
    expected = {name: tuple(t["shape"]) for name, t in reference()[case.model]["tensors"].items()}
    before, steps = initials(case.model, expected), batches(case.model)
    step.load_state_dict(before)
    logits = step.predict(steps[0][0])
    losses = [step(images, labels) for images, labels in steps]
    logits_after = step.predict(steps[0][0])
    after = step.state_dict()
    found = {name: figures(name, before[name], array) for name, array in after.items()}
    largest = {name: float(max(a.max(), -a.min())) for name, a in before.items()}
    shapes = {name: array.shape for name, array in after.items()}
    return Trained(shapes, logits, losses, logits_after, found, largest)


def compiled(case: Case) -> dl.Step:
    build, image = models.MODELS[case.model], IMAGES[case.model]
    plain = case.model.startswith(("lenet", "resnet", "densenet"))  # no dropout to turn off
    net = build(CLASSES, image) if plain else build(CLASSES, image, dropout=0.0)
    return dl.compile(net, BATCH, optimizer=dl.SGD(**SGD), precision=case.precision)


# every layer and every kind of block is in the others
SLOW = ("vgg11-float32", "vgg11_bn-float32", "resnet50-float64")
SLOW += ("alexnet-float32", "alexnet-float64", "densenet121-float64")
each_case = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.slow if str(case) in SLOW else ()) for case in CASES],
    ids=str,
)


@each_case
def test_names_and_shapes(case: Case) -> None:
    tensors = reference()[case.model]["tensors"]
    assert trained(case).shapes == {name: tuple(t["shape"]) for name, t in tensors.items()}


@each_case
def test_logits(case: Case) -> None:
    expected = np.array(reference()[case.model]["logits"])
    assert np.abs(trained(case).logits - expected).max() <= case.outputs * np.abs(expected).max()


@each_case
def test_losses(case: Case) -> None:
    assert trained(case).losses == pytest.approx(
        reference()[case.model]["losses"], rel=case.outputs, abs=0
    )


@each_case
def test_logits_after_training(case: Case) -> None:
    expected = np.array(reference()[case.model]["logits_after"])
    error = np.abs(trained(case).logits_after - expected).max()
    assert error <= case.change * np.abs(expected).max()


@each_case
def test_weights_and_statistics_after_training(case: Case) -> None:
    run = trained(case)
    wrong = [
        name
        for name, expected in reference()[case.model]["tensors"].items()
        if not agree(run.tensors[name], expected, bound(case, expected, run.largest[name]))
    ]
    assert wrong == []


def bound(case: Case, expected: Figures, largest: float) -> float:
    """What one element may differ by: a share of the usual change, and the rounding of the element
    itself in each step."""
    usual: float = expected["norm"] / math.sqrt(math.prod(expected["shape"]))
    rounding = STEPS * float(np.finfo(case.precision).eps) / 2 * largest
    return case.change * usual + rounding


def agree(found: Figures, expected: Figures, one: float) -> bool:
    """Whether all figures of a tensor are as close as if no element differed by more than `one`."""
    size = math.prod(expected["shape"])
    samples = np.subtract(found["samples"], expected["samples"])
    return (
        bool(np.abs(samples).max() <= one)
        and abs(found["norm"] - expected["norm"]) <= math.sqrt(size) * one
        and abs(found["sum"] - expected["sum"]) <= size * one
    )
