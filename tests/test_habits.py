"""What people write out of habit, in PyTorch's order or by mistake: each is taken as it is meant,
or one error says what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl import train
from minidl.ir import MinidlError

NAN, INF = float("nan"), float("inf")
d: Any = dl  # what is written here is what a type checker would find


def net(*layers: Any, image: Any = 2) -> Any:
    return dl.Sequential(dl.Input(image), *layers)


def plan(batch: Any = 1, **how: Any) -> Any:
    return d.plan(net(dl.Linear(2)), batch, **how)


def step(batch: Any = 1, **how: Any) -> Any:
    return d.compile(net(dl.Linear(2)), batch, **how)


def convolved(*args: Any, **how: Any) -> Any:
    layers = d.Conv2d(*args, **how), dl.Flatten(), dl.Linear(2)
    return dl.plan(net(*layers, image=(8, 8, 3)), 2).arena_bytes


def rated(rate: float) -> Any:
    made = step(optimizer=dl.SGD(0.1))
    made.learning_rate = rate
    return made.learning_rate


def trained_on(label: Any) -> Any:
    return step()(np.ones((1, 2)), np.array([label]))


def twice(layer: Callable[[], Any]) -> Any:
    x = dl.Input(2)
    both = dl.Concat()(layer()(x, name="a"), layer()(x, name="a"))
    return dl.plan(dl.Network(x, dl.Linear(2)(both)), 1).arena_bytes


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "SGD(0.1, 0.9, 0, 1e-4)": (lambda: d.SGD(0.1, 0.9, 0, 1e-4), "4 positional.* no dampening"),
    "SGD(0.1, 0.9, inf)": (lambda: d.SGD(0.1, 0.9, INF), "3 positional.*weight_decay=1e-4"),
    "SGD(inf)": (lambda: d.SGD(INF), "lr must be a finite number of at least 0, got inf"),
    "SGD(0.1, inf)": (lambda: d.SGD(0.1, INF), "momentum must be a finite number"),
    "SGD(weight_decay=inf)": (
        lambda: d.SGD(0.1, weight_decay=INF),
        "weight_decay must be a finite",
    ),
    "SGD('0.1')": (lambda: d.SGD("0.1"), "lr must be a finite number of at least 0, got '0.1'"),
    "SGD(1e39)": (lambda: d.SGD(1e39), r"lr: 1e\+39 is beyond float32"),
    "learning_rate = 1e39": (lambda: rated(1e39), r"learning_rate: 1e\+39 is beyond float32"),
    "Adam(1e-3, 0.9, 0.999)": (lambda: d.Adam(1e-3, 0.9, 0.999), r"write betas=\(0.9, 0.999\)"),
    "Adam(1e-3, (0.9,))": (lambda: d.Adam(1e-3, (0.9,)), r"betas must be two.*got \(0.9,\)"),
    "Adam(1e-3, 0.9)": (lambda: d.Adam(1e-3, 0.9), "betas must be two.*got 0.9"),
    "Adam(eps=inf)": (lambda: d.Adam(1e-3, eps=INF), "eps must be a finite number"),
    "MaxPool2d(3, 2, 1, 1, 1)": (
        lambda: d.MaxPool2d(3, 2, 1, 1, 1),
        "5 positional.*ceil_mode=True",
    ),
    "MaxPool2d(2, 2, 1, 1, False)": (lambda: d.MaxPool2d(2, 2, 1, 1, False), "5 positional"),
    "MaxPool2d(3, 2, 1, 1, False, True)": (
        lambda: d.MaxPool2d(3, 2, 1, 1, False, True),
        "6 positional.*ceil_mode=True",
    ),
    "MaxPool2d((3, 3, 3))": (lambda: d.MaxPool2d((3, 3, 3)), r"whole number or two.*\(3, 3, 3\)"),
    "AvgPool2d(3, 2, 1, 'x')": (lambda: d.AvgPool2d(3, 2, 1, "x"), "4 positional.*ceil_m"),
    "AvgPool2d(3, 0)": (lambda: d.AvgPool2d(3, 0), "stride must be .*at least 1, or None, got 0"),
    "AdaptiveAvgPool2d((None, 1))": (lambda: d.AdaptiveAvgPool2d((None, 1)), r"got \(None, 1\)"),
    "BatchNorm2d(64)": (lambda: d.BatchNorm2d(64), "its channels are the input's"),
    "BatchNorm2d(64, 1e-3)": (lambda: d.BatchNorm2d(64, 1e-3), "2 positional.*eps= and momentum="),
    "BatchNorm2d(64, momentum=0.01)": (lambda: d.BatchNorm2d(64, momentum=0.01), "1 positional"),
    "BatchNorm2d(num_features=64)": (lambda: d.BatchNorm2d(num_features=64), "leave num_features"),
    "BatchNorm2d(momentum=None)": (lambda: d.BatchNorm2d(momentum=None), r"in \[0, 1\], got None"),
    "BatchNorm2d(momentum=2)": (lambda: d.BatchNorm2d(momentum=2.0), r"in \[0, 1\], got 2.0"),
    "BatchNorm2d(eps=-1)": (lambda: d.BatchNorm2d(eps=-1), "eps must be .*at least 0, got -1"),
    "BatchNorm2d(eps=nan)": (lambda: d.BatchNorm2d(eps=NAN), "eps must be .*got nan"),
    "Conv2d(3, 64, 3)": (lambda: d.Conv2d(3, 64, 3), "takes 2 .features, kernel.*are known"),
    "Conv2d(3, 64, 3, 1, 1)": (lambda: convolved(3, 64, 3, 1, 1), "5 positional.*are known"),
    "Conv2d(3, 64, kernel=3)": (lambda: d.Conv2d(3, 64, kernel=3), "kernel is given twice"),
    "Conv2d(bias=None)": (lambda: d.Conv2d(3, 3, bias=None), "bias must be True or False"),
    "Conv2d(3, 3.0)": (lambda: d.Conv2d(3, 3.0), "kernel must be a whole number or two.*got 3.0"),
    "Conv2d(3.0, 3)": (lambda: d.Conv2d(3.0, 3), "features must be a whole number.*got 3.0"),
    "Conv2d(3, (3, 3, 3))": (lambda: d.Conv2d(3, (3, 3, 3)), r"got \(3, 3, 3\)"),
    "Linear(3.0)": (lambda: d.Linear(3.0), "features must be a whole number.*got 3.0"),
    "LocalResponseNorm(5, -1.0)": (lambda: d.LocalResponseNorm(5, -1.0), "alpha must be .*got -1"),
    "LocalResponseNorm(k=nan)": (lambda: d.LocalResponseNorm(5, 1e-4, 0.75, NAN), "k must be"),
    "LeakyReLU(True)": (lambda: d.LeakyReLU(True), "slope must be .*got True"),
    "LeakyReLU(nan)": (lambda: d.LeakyReLU(NAN), "slope must be .*got nan"),
    "Dropout(1)": (lambda: d.Dropout(1), r"p must be a number in \[0, 1\), got 1"),
    "Dropout(True)": (lambda: d.Dropout(True), "p must be .*got True"),
    "Dropout(nan)": (lambda: d.Dropout(NAN), "p must be .*got nan"),
    "CrossEntropy(nan)": (lambda: d.CrossEntropy(NAN), r"CrossEntropy\(label_smoothing=0.1\)"),
    "CrossEntropy(label_smoothing=nan)": (lambda: d.CrossEntropy(label_smoothing=NAN), "got nan"),
    "CrossEntropy of images": (
        lambda: dl.compile(net(dl.Conv2d(3, 3), image=(4, 4, 2)), 2),
        r"CrossEntropy.*needs a prediction \(batch, classes\), got \(2, 2, 2, 3\)",
    ),
    "MSE of NCHW": (
        lambda: dl.compile(net(dl.Conv2d(3, 3), image=(4, 4, 2)), 2, loss=dl.MSE())(
            np.ones((2, 4, 4, 2)), np.ones((2, 3, 2, 2))
        ),
        r"target: .*\(2, 3, 2, 2\): images are NHWC: images.transpose\(0, 2, 3, 1\)",
    ),
    "a label of -100": (lambda: trained_on(-100), r"labels must be in \[0, 2\).*got -100 in row 0"),
    "a label of 1.0": (lambda: trained_on(1.0), "target must be integers, got float64"),
    "a label of True": (lambda: trained_on(True), "target must be integers, got bool"),
    "a label beyond int64": (lambda: trained_on(np.uint64(2**63 + 1)), "target must be in "),
    "Warmup(5)": (lambda: train.Warmup(5), r"write Warmup\(Cosine\(\), epochs=5\)"),  # type: ignore[arg-type]
    "OneCycle(0.1)": (lambda: train.OneCycle(0.1), "the optimizer's rate is the highest"),  # type: ignore[call-arg]
    "StepDecay(gamma=-1)": (lambda: train.StepDecay(gamma=-1), "gamma must be .*got -1"),
    "StepDecay(2.5)": (lambda: train.StepDecay(2.5), "size must be a whole number.*got 2.5"),  # type: ignore[arg-type]
    "MultiStep((30, 60.5))": (lambda: train.MultiStep((30, 60.5)), r"got \(30, 60.5\)"),  # type: ignore[arg-type]
    "MultiStep(30)": (lambda: train.MultiStep(30), "milestones must be a list.*got 30"),  # type: ignore[arg-type]
    "Cosine(1e-6)": (lambda: train.Cosine(1e-6), "minimum= is a share"),  # type: ignore[call-arg]
    "Exponential(inf)": (lambda: train.Exponential(INF), "gamma must be a finite"),
    "Ema(1)": (lambda: train.Ema(1.0), r"decay must be a number in \[0, 1\), got 1.0"),
    "clip_norm=True": (lambda: plan(clip_norm=True), "clip_norm must be positive.*got True"),
    "clip_norm='1'": (lambda: plan(clip_norm="1"), "clip_norm must be positive.*got '1'"),
    "accumulate=True": (lambda: plan(accumulate=True), "accumulate must be .*got True"),
    "batch=0": (lambda: plan(0), "batch must be a whole number of at least 1, got 0"),
    "batch=2.0": (lambda: plan(2.0), "batch must be a whole number of at least 1, got 2.0"),
    "slices=0": (lambda: plan(slices=0), r"slices must be in \[1, 1\], the batch, got 0"),
    "slices=5 of 2": (lambda: plan(2, slices=5), r"slices must be in \[1, 2\], the batch, got 5"),
    "slices=1.5": (lambda: plan(2, slices=1.5), "slices must be a whole number, got 1.5"),
    "seed=-1": (lambda: step(seed=-1), r"seed must be a whole number in \[0, 2\^64\), got -1"),
    "seed=2**64": (lambda: step(seed=2**64), r"seed must be a whole number in \[0, 2\^64\)"),
    "seed=1.5": (lambda: step(seed=1.5), r"seed must be a whole number in \[0, 2\^64\), got 1.5"),
    "resnet18(num_classes=5)": (lambda: d.models.resnet18(num_classes=5), "write classes="),
    "resnet18(pretrained=True)": (lambda: d.models.resnet18(pretrained=True), "from a file"),
    "vgg16(weights=)": (lambda: d.models.vgg16(weights="DEFAULT"), "vgg16.*from a file"),
    "lenet(0)": (lambda: d.models.lenet(0), "classes must be a whole number of at least 1, got 0"),
    "vgg11(image=(32, 32))": (lambda: d.models.vgg11(image=(32, 32)), "image must be three"),
    "two Linears of a name": (lambda: twice(lambda: dl.Linear(2)), "name one differently"),
}


@pytest.mark.parametrize("written", REFUSED)
def test_one_error_says_what_to_write(written: str) -> None:
    call, words = REFUSED[written]
    with pytest.raises(MinidlError, match=words):
        call()


i = np.int64
SAME: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "padding='same'": (lambda: convolved(3, 3, padding="same"), lambda: convolved(3, 3, padding=1)),
    "a kernel as a list": (lambda: convolved(3, [3, 3]), lambda: convolved(3, 3)),
    "NumPy's integers": (lambda: convolved(i(3), i(3)), lambda: convolved(3, 3)),
    "a pool of NumPy's": (lambda: d.MaxPool2d(i(2)).window, lambda: dl.MaxPool2d(2).window),
    "a batch of NumPy's": (lambda: plan(i(2)).arena_bytes, lambda: plan(2).arena_bytes),
    "accumulate of NumPy's": (
        lambda: plan(accumulate=i(2)).arena_bytes,
        lambda: plan(accumulate=2).arena_bytes,
    ),
    "a loss's class": (
        lambda: step(loss=dl.MSE).plan.arena_bytes,
        lambda: step(loss=dl.MSE()).plan.arena_bytes,
    ),
    "an optimizer's class": (
        lambda: step(optimizer=dl.Adam).variables,
        lambda: step(optimizer=dl.Adam()).variables,
    ),
}


@pytest.mark.parametrize("written", SAME)
def test_it_is_taken_as_it_is_meant(written: str) -> None:
    found, meant = SAME[written]
    assert found() == meant()


def test_a_model_that_there_is_not_has_neighbours() -> None:
    with pytest.raises(AttributeError, match="no model 'resnet19': did you mean resnet18"):
        _ = dl.models.resnet19
    assert not hasattr(dl.models, "anything_else")


def test_two_dropouts_of_a_name_are_planned() -> None:
    """Each draws its own elements: tests/layers/test_one_name.py."""
    assert twice(dl.Dropout) > 0
