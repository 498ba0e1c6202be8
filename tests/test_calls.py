"""Calls: which arguments have a place, and what a call in another framework's order says.

An argument has a place where PyTorch and Keras have the same one there, or nothing. Everything else
is given by name, so that no call means something else than it says.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl import data, models, train
from minidl.ir.calls import CallError, called
from minidl.layers import initial

PLACES: dict[str, str] = {
    # layers
    "AdaptiveAvgPool2d": "output_size",
    "Add": "",
    "AvgPool2d": "kernel stride padding",
    "BatchNorm2d": "",
    "Concat": "",
    "Conv2d": "features kernel",
    "CrossEntropy": "",
    "Dropout": "p",
    "Flatten": "",
    "GELU": "approximate",
    "Input": "shape",
    "LeakyReLU": "slope",
    "Linear": "features",
    "LocalResponseNorm": "size alpha beta k",
    "MSE": "",
    "MaxPool2d": "kernel stride padding dilation",
    "Network": "inputs output name",
    "Normalize": "mean std",
    "ReLU": "",
    "Sequential": "",
    "Sigmoid": "",
    "Tanh": "",
    "from_bytes": "network mean std",
    "constant": "value",
    "normal": "std",
    "uniform": "bound",
    # steps
    "Adam": "lr betas eps weight_decay",
    "AdamW": "lr betas eps weight_decay",
    "SGD": "lr momentum",
    "Options": "",
    "compile": "network batch",
    "plan": "network batch",
    # training
    "Checkpoints": "",
    "Constant": "",
    "Cosine": "",
    "EarlyStopping": "metric",
    "Ema": "decay",
    "Ema.for_run": "",
    "Exponential": "gamma",
    "InOrder": "images labels batch",
    "Log": "",
    "MultiStep": "milestones gamma",
    "OneCycle": "",
    "Plateau": "",
    "Progress": "",
    "Repeated": "source",
    "Shuffled": "images labels batch",
    "StepDecay": "size gamma",
    "TensorBoard": "folder",
    "Trainer": "step",
    "Trainer.fit": "train val epochs",
    "Warmup": "after",
    "as_loader": "source",
    "fit": "step data epochs",
    "latest": "folder",
    "load": "source step",
    "measure": "step batches",
    "opened": "where",
    "save": "folder step state keep",
    # data
    "Arrays": "images labels classes title",
    "CentreCrop": "side",
    "ImageFolder": "folder",
    "HeldOut": "seed",
    "ImageTar": "path prefix",
    "ImageZip": "path prefix",
    "Loader": "source batch",
    "PadCrop": "side pad",
    "RandomResizedCrop": "side scale ratio",
    "Subset": "source indices",
    "batches": "images labels batch",
    "cifar10": "path",
    "decode": "raw name limit",
    "decoded": "source",
    "digit_constants": "",
    "digits": "image",
    "evaluation": "side",
    "held_out": "source seed name",
    "mnist": "folder",
    "normalised": "images mean std",
    "open_data": "path",
    "training": "side",
    # trained networks
    "Predictor": "weights",
    "card_for": "model splits",
    "description": "card flags",
    "evaluation_loader": "card source batch",
    "export_onnx": "network weights path",
    "exported": "step name",
    "import_onnx": "path",
    "register_onnx": "kind write",
    "image_files": "paths",
    "labels_of": "card classes name",
    "load_checkpoint": "step source averaged",
    "load_weights": "step path",
    "minidl.predict.evaluate": "step loaders labels",
    "minidl.train.evaluate": "step images labels",
    "model_classes": "model",
    "model_image": "model",
    "read_weights": "path",
    "save_weights": "path arrays metadata",
    "softmax": "outputs",
    "training_loader": "card source batch",
    "usual_constants": "channels",
    "write_confusion": "path card confusion",
}
"""The arguments that have a place, by public name; all others are given by name."""

BASES = {
    "Callback",
    "Layer",
    "Loss",
    "Optimizer",
    "Schedule",
    "Feed",
    "Source",
    "Transform",
    "builder",
}
"""What people write classes below, and what they decorate functions with."""

MADE = {
    *(
        "Answer",
        "Checkpoint",
        "CudaArray",
        "Dataset",
        "Epoch",
        "Evaluation",
        "Guess",
        "ImageFiles",
        "History",
        "Loaded",
    ),
    *("Metrics", "ModelCard", "Node", "Plan", "Png", "Position", "Report", "Splits", "State"),
    *("Step", "Trained", "View"),
}
"""What minidl makes and people read, and callbacks without arguments."""

ROOMS: tuple[ModuleType, ...] = (
    dl,
    train,
    data,
    import_module("minidl.predict"),
    import_module("minidl.interop"),
)


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public class and function but the zoo, by its name."""
    for room in ROOMS:
        for name in room.__all__:
            found = getattr(room, name)
            if callable(found) and not (
                isinstance(found, type) and issubclass(found, BaseException)
            ):
                yield (f"{room.__name__}.{name}" if name == "evaluate" else name), found
    for name in ("constant", "normal", "uniform"):
        yield name, getattr(initial, name)
    yield "Ema.for_run", train.Ema.for_run
    yield "Trainer.fit", train.Trainer.fit


PUBLIC = dict(public())
CALLED = {name: PUBLIC[name] for name in PLACES if name in PUBLIC}


def parameters(called: Callable[..., Any]) -> list[inspect.Parameter]:
    found = inspect.signature(called).parameters.values()
    return [p for p in found if p.name not in ("self", "cls")]


def test_every_public_name_is_in_one_of_the_tables() -> None:
    assert PUBLIC.keys() - BASES - MADE == PLACES.keys()
    assert not PLACES.keys() & (BASES | MADE)
    assert PUBLIC.keys() >= BASES | MADE


@pytest.mark.parametrize("name", PLACES)
def test_only_these_arguments_have_a_place(name: str) -> None:
    placed = [p.name for p in parameters(CALLED[name]) if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert placed == PLACES[name].split()


@pytest.mark.parametrize("name", models.MODELS)
def test_the_zoo_has_one_order(name: str) -> None:
    placed = [p.name for p in parameters(models.MODELS[name])]
    assert placed in (["classes", "image"], ["classes", "image", "dropout"])


FREE = ("Sequential", "Predictor", "Trainer.fit")
"""Any number of layers, any keyword, a method that needs its object."""


@pytest.mark.parametrize("name", [name for name in PLACES if name not in FREE])
def test_an_unknown_keyword_is_one_line(name: str) -> None:
    with pytest.raises(CallError, match=r"it has no bogus") as caught:
        CALLED[name](bogus=1)
    assert isinstance(caught.value, dl.ArgumentError)
    assert isinstance(caught.value, TypeError)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in PLACES if name != "Sequential"])
def test_one_argument_too_many_is_one_line(name: str) -> None:
    count = len(PLACES[name].split()) + 1
    most = f"{count - 1} \\(" if count > 1 else "none"
    own = (None,) if name == "Trainer.fit" else ()
    with pytest.raises(CallError, match=f"{count} positional, and it takes {most}") as caught:
        CALLED[name](*own, *range(count))
    assert caught.value.hint


# -- what other frameworks' habits say -------------------------------------------------------------

X, Y = np.zeros((8, 4, 4, 3), np.float32), np.zeros(8, np.int64)


def network() -> dl.Sequential:
    return dl.Sequential(dl.Input(3), dl.Linear(2))


def rated(value: float) -> None:
    dl.compile(network(), 2).learning_rate = value


def source() -> data.Arrays:
    return data.Arrays(X, Y)


HABITS: dict[str, tuple[Callable[[], Any], str]] = {
    "nn.Conv2d(3, 64, 3, 1, 1)": (
        lambda: dl.Conv2d(3, 64, 3, 1, 1),  # type: ignore[misc]
        r"Conv2d\(3, 64, 3, 1, 1\): 5 positional.*2 \(features, kernel\).*the input's are known",
    ),
    "nn.Conv2d(3, 64, kernel_size=3)": (
        lambda: dl.Conv2d(3, 64, kernel_size=3),  # type: ignore[call-arg]
        "write kernel= for kernel_size",
    ),
    "nn.Conv2d by name": (
        lambda: dl.Conv2d(in_channels=3, out_channels=64, kernel_size=3),  # type: ignore[call-arg]
        "features lacks.*leave in_channels out; write features= for out_channels; write kernel= ",
    ),
    "nn.Conv2d(3, 64, kernel=3)": (
        lambda: dl.Conv2d(3, 64, kernel=3),  # type: ignore[misc]
        "kernel is given twice: write the output's channels",
    ),
    "Conv2D(64, 3, strides=2, padding='same')": (
        lambda: dl.Conv2d(64, 3, stride=2, padding="same"),
        "padding='same' is for stride 1",
    ),
    "Conv2D(64, 2, padding='same')": (
        lambda: dl.Conv2d(64, 2, padding="same"),
        "a window of an odd size, got kernel=",
    ),
    "nn.Conv2d(3, 64)": (lambda: dl.Conv2d(3), "kernel lacks"),  # type: ignore[call-arg]
    "nn.Linear(512, 10)": (
        lambda: dl.Linear(512, 10),  # type: ignore[misc]
        r"Linear\(512, 10\): 2 positional.*Linear\(10\)",
    ),
    "nn.BatchNorm2d(64)": (
        lambda: dl.BatchNorm2d(64),  # type: ignore[misc]
        r"BatchNorm2d\(64\): 1 positional, and it takes none: write BatchNorm2d\(\)",
    ),
    "nn.BatchNorm2d(num_features=64)": (
        lambda: dl.BatchNorm2d(num_features=64),  # type: ignore[call-arg]
        "it has no num_features: leave num_features out; write BatchNorm2d",
    ),
    "nn.BatchNorm2d(momentum=None)": (
        lambda: dl.BatchNorm2d(momentum=None),  # type: ignore[arg-type]
        r"momentum must be a number in \[0, 1\], got None",
    ),
    "nn.Dropout(0.5, True)": (
        lambda: dl.Dropout(0.5, True),  # type: ignore[call-arg]
        r"Dropout\(0.5, True\): 2 positional",
    ),
    "nn.ReLU(inplace=True)": (
        lambda: dl.ReLU(inplace=True),  # type: ignore[call-arg]
        "leave inplace out",
    ),
    "nn.LeakyReLU(0.2, True)": (
        lambda: dl.LeakyReLU(0.2, True),  # type: ignore[call-arg]
        "2 positional",
    ),
    "nn.MaxPool2d(3, 2, 1, 1, False, True)": (
        lambda: dl.MaxPool2d(3, 2, 1, 1, False, True),  # type: ignore[misc]
        r"6 positional.*ceil_mode=True",
    ),
    "nn.AvgPool2d(3, 2, 1, True)": (
        lambda: dl.AvgPool2d(3, 2, 1, True),  # type: ignore[misc]
        r"4 positional.*ceil_mode=True",
    ),
    "nn.AdaptiveAvgPool2d((None, 1))": (
        lambda: dl.AdaptiveAvgPool2d((None, 1)),  # type: ignore[arg-type]
        r"output_size must be a whole number or two, at least 1, got \(None, 1\)",
    ),
    "nn.Flatten(1)": (lambda: dl.Flatten(1), r"1 positional.*all but the batch"),  # type: ignore[call-arg]
    "nn.CrossEntropyLoss(weight)": (
        lambda: dl.CrossEntropy([0.1, 0.9]),  # type: ignore[misc]
        r"CrossEntropy\(\[0.1, 0.9\]\): 1 positional.*no weights",
    ),
    "nn.Sequential([...])": (
        lambda: dl.Sequential([dl.ReLU(), dl.ReLU()]),  # type: ignore[arg-type]
        r"unpack a list: Sequential\(\*layers\)",
    ),
    "Model(x, [y])": (
        lambda: dl.Network(dl.Input(2), [dl.Input(2)]),  # type: ignore[arg-type]
        r"output must be an Input or a layer's output, got \[",
    ),
    "Input((4, 4, 3), 32)": (
        lambda: dl.Input((4, 4, 3), 32),  # type: ignore[misc]
        "2 positional.*without the batch",
    ),
    "Input((None, 3))": (
        lambda: dl.Input((None, 3)),  # type: ignore[arg-type]
        r"whole numbers of at least 1, got \(None, 3\)",
    ),
    "optim.SGD(0.1, 0.9, 0, 1e-4)": (
        lambda: dl.SGD(0.1, 0.9, 0, 1e-4),  # type: ignore[misc]
        r"SGD\(0.1, 0.9, 0, 0.0001\): 4 positional.*weight_decay=1e-4\): there is no dampening",
    ),
    "optim.SGD(parameters, lr=0.1)": (
        lambda: dl.SGD([1], lr=0.1),  # type: ignore[misc]
        "lr is given twice.*the weights are the network's",
    ),
    "SGD(learning_rate=0.1)": (
        lambda: dl.SGD(learning_rate=0.1),  # type: ignore[call-arg]
        "write lr= for learning_rate",
    ),
    "SGD(nesterov=1e-4)": (
        lambda: dl.SGD(0.1, 0.9, nesterov=1e-4),  # type: ignore[arg-type]
        "nesterov must be True or False, got 0.0001",
    ),
    "SGD('0.1')": (lambda: dl.SGD("0.1"), "lr must be a finite number of at least 0, got '0.1'"),  # type: ignore[arg-type]
    "SGD(inf)": (lambda: dl.SGD(float("inf")), "lr must be a finite number of at least 0, got inf"),
    "SGD(True)": (lambda: dl.SGD(True), "lr must be a finite number of at least 0, got True"),
    "Adam(1e-3, 0.9, 0.999)": (
        lambda: dl.Adam(1e-3, 0.9, 0.999),  # type: ignore[arg-type]
        r"betas must be two, each a number in \[0, 1\), got 0.9: write betas=\(0.9, 0.999\)",
    ),
    "Adam(epsilon=1e-7)": (
        lambda: dl.Adam(epsilon=1e-7),  # type: ignore[call-arg]
        "write eps= for epsilon",
    ),
    "StepLR(optimizer, 30)": (
        lambda: train.StepDecay(dl.SGD(), 30),  # type: ignore[arg-type]
        r"size must be a whole number of at least 1, got SGD",
    ),
    "StepLR(step_size=30)": (
        lambda: train.StepDecay(step_size=30),  # type: ignore[call-arg]
        "write size= for step_size",
    ),
    "MultiStepLR(30)": (
        lambda: train.MultiStep(30),  # type: ignore[arg-type]
        "milestones must be a list, each a whole number of at least 1, got 30",
    ),
    "CosineAnnealingLR(90)": (
        lambda: train.Cosine(90),  # type: ignore[misc]
        r"1 positional.*a run's epochs are the trainer's",
    ),
    "CosineAnnealingLR(T_max=1, eta_min=0)": (
        lambda: train.Cosine(T_max=1, eta_min=0),  # type: ignore[call-arg]
        "leave T_max out; write minimum= for eta_min",
    ),
    "LinearLR(5)": (lambda: train.Warmup(5), "after must be a Schedule, got 5: write"),  # type: ignore[arg-type]
    "Warmup(Cosine(), 5, 0.1)": (
        lambda: train.Warmup(train.Cosine(), 5, 0.1),  # type: ignore[misc]
        "3 positional",
    ),
    "OneCycleLR(0.1)": (
        lambda: train.OneCycle(0.1),  # type: ignore[misc]
        "1 positional.*the optimizer's rate is the highest",
    ),
    "OneCycleLR(max_lr=0.1)": (
        lambda: train.OneCycle(max_lr=0.1),  # type: ignore[call-arg]
        "leave max_lr out",
    ),
    "ReduceLROnPlateau('min', 0.5)": (
        lambda: train.Plateau("min", 0.5),  # type: ignore[misc]
        r"Plateau\('min', 0.5\): 2 positional",
    ),
    "ReduceLROnPlateau(factor=0.5)": (
        lambda: train.Plateau(factor=0.5),  # type: ignore[call-arg]
        "write gamma= for factor",
    ),
    "EarlyStopping('val_loss', 0, 5)": (
        lambda: train.EarlyStopping("val_loss", 0, 5),  # type: ignore[misc]
        "3 positional",
    ),
    "EarlyStopping('val_accuracy')": (
        lambda: train.EarlyStopping("val_accuracy"),
        "metric must be one of .*'val_loss', .*got 'val_accuracy'",
    ),
    "ModelCheckpoint('folder')": (
        lambda: train.Checkpoints("folder"),  # type: ignore[misc]
        "the folder is the trainer's",
    ),
    "DataLoader(data, 32, True)": (
        lambda: data.Loader(source(), 4, True, seed=0),  # type: ignore[misc]
        r"Loader\(<Arrays>, 4, True, seed=0\): 3 positional",
    ),
    "DataLoader(batch_size=32)": (
        lambda: data.Loader(source(), batch_size=4, seed=0),  # type: ignore[call-arg]
        "write batch= for batch_size",
    ),
    "RandomResizedCrop(224, (0.1, 1), (1, 1), 2)": (
        lambda: data.RandomResizedCrop(224, (0.1, 1), (1, 1), 2),  # type: ignore[misc]
        "4 positional",
    ),
    "RandomCrop(32, padding=4)": (
        lambda: data.PadCrop(32, padding=4),  # type: ignore[call-arg]
        "write pad= for padding",
    ),
    "CenterCrop((224, 224))": (
        lambda: data.CentreCrop((224, 224)),  # type: ignore[arg-type]
        r"side must be a whole number of at least 1, got \(224, 224\)",
    ),
    "random_split(data, [0.8, 0.2])": (
        lambda: data.held_out(source(), [0.8, 0.2]),  # type: ignore[arg-type]
        r"seed must be a whole number in \[0, 2\^64\), got \[0.8, 0.2\]",
    ),
    "model.fit(x, y)": (
        lambda: train.as_loader(5),  # type: ignore[arg-type]
        "source must be a loader or an iterable of batches, got 5: give",
    ),
    "compile(model, 'adam')": (
        lambda: dl.compile(network(), "adam"),  # type: ignore[arg-type]
        "batch must be a whole number of at least 1, got 'adam'",
    ),
    "compile(optimizer='lion')": (
        lambda: dl.compile(network(), 2, optimizer="lion"),  # type: ignore[arg-type]
        "optimizer must be an Optimizer or one of 'sgd', 'adam', 'adamw', .*'lion': write opt",
    ),
    "compile(loss=Adam)": (
        lambda: dl.compile(network(), 2, loss=dl.Adam),  # type: ignore[arg-type]
        "loss must be a Loss or one of .*got the class Adam: write loss=",
    ),
    "compile(batch_size=2)": (
        lambda: dl.compile(network(), batch_size=2),  # type: ignore[call-arg]
        "write batch= for batch_size",
    ),
    "compile(optimizer=SGD(1e39))": (
        lambda: dl.compile(network(), 2, optimizer=dl.SGD(1e39)),
        r"lr: 1e\+39 is beyond float32, which ends at 3.4e\+38",
    ),
    "step.learning_rate = 1e39": (lambda: rated(1e39), r"learning_rate: 1e\+39 is beyond float32"),
    "step.learning_rate = True": (lambda: rated(True), "got True"),
    "plan(batch=2.0)": (
        lambda: dl.plan(network(), 2.0),  # type: ignore[arg-type]
        "batch must be a whole number of at least 1, got 2.0",
    ),
    "plan(batch=True)": (lambda: dl.plan(network(), True), "batch must be a whole number"),
    "plan(slices=1.5)": (
        lambda: dl.plan(network(), 2, slices=1.5),  # type: ignore[arg-type]
        "slices must be a whole number, got 1.5",
    ),
    "plan(clip_norm=True)": (
        lambda: dl.plan(network(), 2, clip_norm=True),
        "clip_norm must be positive, or None, got True",
    ),
    "plan(accumulate=True)": (
        lambda: dl.plan(network(), 2, accumulate=True),
        "accumulate must be a number of calls, at least 1, got True",
    ),
    "resnet18(True)": (
        lambda: models.resnet18(True),  # pretrained, once
        "resnet18: classes must be a whole number of at least 1, got True",
    ),
}
"""Calls in other frameworks' words, and what is said."""


@pytest.mark.parametrize("name", HABITS)
def test_a_habit_is_answered(name: str) -> None:
    call, message = HABITS[name]
    with pytest.raises((dl.ArgumentError, dl.ShapeError), match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers() -> None:
    three = np.int64(3)
    conv = dl.Conv2d(three, three, stride=(np.int32(1), 1), groups=np.uint8(1))
    assert conv == conv
    assert [type(v) for v in (conv.features, conv.groups)] == [int, int]
    assert conv.window == dl.Conv2d(3, 3).window
    assert dl.MaxPool2d(np.int64(2)).window == dl.MaxPool2d(2).window
    assert dl.Conv2d(3, [3, 3]).window.kernel == (3, 3)  # type: ignore[arg-type]
    assert dl.plan(network(), np.int64(2)).batch == 2  # type: ignore[arg-type]
    assert dl.SGD(np.float32(0.5), np.float64(0.9)).lr == 0.5


def test_a_wrong_call_runs_nothing() -> None:
    ran = []

    @called("write f(1)")
    def f(one: int) -> None:
        """What it does."""
        ran.append(one)

    with pytest.raises(CallError, match=r"^f\(1, 2\): 2 positional, and it takes 1 \(one\): write"):
        f(1, 2)  # type: ignore[call-arg]
    assert not ran
    f(1)
    assert ran == [1]
    assert f.__doc__ == "What it does."
    assert re.search("one: 'int'", str(inspect.signature(f)))


def test_what_a_function_itself_raises_stays() -> None:
    @called()
    def f(one: Any) -> Any:
        return one + 1

    with pytest.raises(TypeError, match="can only concatenate") as caught:
        f("a")
    assert not isinstance(caught.value, CallError)
