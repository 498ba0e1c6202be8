"""Plans of the published networks at full size, against figures worked out here by hand."""

from __future__ import annotations

import json
import math
from functools import cache

import pytest

import minidl as dl
from minidl.compiler.modes import MODES
from minidl.placed.file import placed_to_dict
from minidl.placed.verify.file import check_file
from minidl.recipe import Plan
from tests.drawn import drawn

DEVICES = ("cuda", "cpu")
BATCH = {"alexnet": 256, "vgg16": 128, "resnet50": 128}
OTHER_BATCH = 128


@cache
def planned(model: str, device: str) -> Plan:
    return dl.plan(dl.models.MODELS[model](), BATCH.get(model, OTHER_BATCH), device=device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("model", "share"), [("vgg16", 0.56), ("alexnet", 0.72)])
def test_the_papers_method_saves_what_the_paper_says(model: str, share: float, device: str) -> None:
    """Shirahata, Tomita, Ike 2016: over 40 % less on VGGNet, a third on AlexNet."""
    modes = planned(model, device).modes
    assert modes["fujitsu2016"] <= share * modes["caffe"]


LARGE = ("densenet121", "googlenet", "resnet34", "resnet50")


MODELS = [
    pytest.param(model, marks=pytest.mark.slow if model in LARGE else ())
    for model in dl.models.MODELS
]


@pytest.mark.parametrize("model", MODELS)
def test_arena_is_the_least_and_proved(model: str) -> None:
    """On one of the devices in a session."""
    for device in drawn(DEVICES, 2, list(dl.models.MODELS).index(model)):
        plan = planned(model, device)
        assert plan.arena_bytes == plan.modes["arena"] < plan.modes["fujitsu2016"]
        assert plan.arena_bytes < plan.modes["liveness"] < plan.modes["naive"]
        assert plan.modes["fujitsu2016"] < plan.modes["caffe"] < plan.modes["naive"]
        check_file(json.loads(json.dumps(placed_to_dict(plan))))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", BATCH)
def test_the_placement_is_optimal(model: str, device: str) -> None:
    plan = planned(model, device)
    assert plan.arena_bytes == plan.max_load_bytes >= plan.order_lower_bound_bytes


@pytest.mark.parametrize("memory", [name for name in MODES if name != "arena"])
@pytest.mark.parametrize("model", BATCH)
def test_every_mode_is_proved(model: str, memory: str) -> None:
    network = dl.models.MODELS[model]()
    plan = dl.plan(network, BATCH[model], memory=memory)
    check_file(json.loads(json.dumps(placed_to_dict(plan))))
    assert plan.arena_bytes == planned(model, "cpu").modes[memory]


# -- by hand ---------------------------------------------------------------------------------------

Layers = list[tuple[str, int, int]]
"""(kind, elements of one sample's output, parameters)."""


def convolution(side: int, inputs: int, features: int, kernel: int) -> Layers:
    size = side * side * features
    return [("layer", size, features * (inputs * kernel**2 + 1)), ("in place", size, 0)]


def classifier(inputs: int, dropout_first: bool) -> Layers:
    """Three fully connected layers, ReLU and dropout between them."""
    dropout: Layers = [("in place", inputs, 0)] if dropout_first else []
    second: Layers = [("in place", 4096, 0)] if dropout_first else []
    first: Layers = [("layer", 4096, 4096 * (inputs + 1))]
    relu: Layers = [("in place", 4096, 0)]
    middle: Layers = [("layer", 4096, 4096 * 4097)]
    last: Layers = [("layer", 1000, 1000 * 4097)]
    if dropout_first:
        return dropout + first + relu + second + middle + relu + last
    return first + relu + relu + middle + relu + relu + last


def vgg16_by_hand() -> Layers:
    layers: Layers = []
    side, inputs = 224, 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += convolution(side, inputs, width, 3)
            inputs = width
        side //= 2
        layers.append(("max-pool", side * side * width, 0))
    return layers + classifier(7 * 7 * 512, dropout_first=False)


def alexnet_by_hand() -> Layers:
    return [
        *convolution(55, 3, 64, 11),
        ("max-pool", 27 * 27 * 64, 0),
        *convolution(27, 64, 192, 5),
        ("max-pool", 13 * 13 * 192, 0),
        *convolution(13, 192, 384, 3),
        *convolution(13, 384, 256, 3),
        *convolution(13, 256, 256, 3),
        ("max-pool", 6 * 6 * 256, 0),
        *classifier(6 * 6 * 256, dropout_first=True),
    ]


BY_HAND = {"vgg16": vgg16_by_hand(), "alexnet": alexnet_by_hand()}


def bytes_by_hand(layers: Layers, batch: int, in_place: bool) -> int:
    """Data and diff of every blob, the input and the probabilities once, argmax as bytes, and
    weights, their gradients and their momentum."""
    blobs = sum(size for kind, size, _ in layers if not (in_place and kind == "in place"))
    argmax = sum(size for kind, size, _ in layers if kind == "max-pool")
    images, probabilities = 224 * 224 * 3, 1000
    parameters = sum(count for _, _, count in layers)
    return batch * (4 * (2 * blobs + images + probabilities) + argmax) + 12 * parameters


@pytest.mark.parametrize("memory", ["naive", "caffe"])
@pytest.mark.parametrize("model", BY_HAND)
def test_naive_and_caffe_are_what_the_shapes_say(model: str, memory: str) -> None:
    layers = BY_HAND[model]
    plan = planned(model, "cuda")
    scratch = {t for op in plan.graph.ops for t in op.writes if t.kind == "scratch"}
    share = sum if memory == "naive" else max  # one workspace for all layers, as in Caffe
    by_hand = bytes_by_hand(layers, BATCH[model], in_place=memory == "caffe")
    by_hand += share(t.nbytes for t in scratch)
    rounding = 256 * 8 * len(layers)  # each buffer to 256 bytes; labels, loss, step, learning rate
    assert 0 <= plan.modes[memory] - by_hand <= rounding


@pytest.mark.parametrize(("model", "millions"), [("vgg16", 138.357544), ("alexnet", 61.100840)])
def test_parameters_are_those_published(model: str, millions: float) -> None:
    plan = planned(model, "cuda")
    kept = [v.tensor.size for v in plan.graph.variables if v.tensor.kind == "parameter"]
    assert sum(kept) == round(1e6 * millions) == sum(count for _, _, count in BY_HAND[model])
    assert math.isclose(sum(kept) / 1e6, millions)
