"""Checkpoints by PyTorch's names and layouts; the published sizes of the models."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl
from minidl import models
from minidl.ir import ArgumentError, Array, ShapeError

PARAMETERS = {
    "alexnet": 61_100_840,
    "alexnet_2012": 60_965_224,
    "densenet121": 7_978_856,
    "googlenet": 6_624_904,
    "lenet": 61_706,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg16_bn_small": 14_728_266,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "vgg_small": 308_394,
}
"""As published: torchvision's table, GoogLeNet without its auxiliary heads; Caffe's bvlc_alexnet;
LeNet-5 with all maps connected; VGG-16 for CIFAR-10 as github.com/kuangliu/pytorch-cifar has it.
vgg_small is of this house: counted by hand."""


def test_every_model_has_a_published_size() -> None:
    assert sorted(PARAMETERS) == sorted(models.MODELS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count(name: str) -> None:
    plan = dl.plan(models.MODELS[name](), 1, memory="naive")
    tensors = [v.tensor for v in plan.graph.variables]
    assert sum(t.size for t in tensors if t.kind == "parameter") == PARAMETERS[name]


def network() -> dl.Sequential:
    """Everything whose layout PyTorch has otherwise: filters, groups, a matrix after Flatten."""
    return dl.Sequential(
        dl.Input((6, 5, 4)),
        features=dl.Sequential(
            dl.Conv2d(8, 3), dl.BatchNorm2d(), dl.ReLU(), dl.Conv2d(6, (1, 2), groups=2)
        ),
        flatten=dl.Flatten(),
        fc=dl.Linear(3),
    )


@pytest.fixture
def step() -> dl.Step:
    return dl.compile(network(), 2, optimizer=dl.SGD(momentum=0.9), seed=1)


SHAPES = {
    "features.0.weight": (8, 4, 3, 3),
    "features.0.bias": (8,),
    "features.1.weight": (8,),
    "features.1.bias": (8,),
    "features.1.running_mean": (8,),
    "features.1.running_var": (8,),
    "features.1.num_batches_tracked": (),
    "features.3.weight": (6, 4, 1, 2),
    "features.3.bias": (6,),
    "fc.weight": (3, 6 * 4 * 2),
    "fc.bias": (3,),
}


def numbered() -> dict[str, Array]:
    """Arrays of which no two elements are equal."""
    sizes = np.cumsum([0, *(math.prod(s) for s in SHAPES.values())])
    return {
        name: (start + np.arange(math.prod(shape))).reshape(shape)
        for start, (name, shape) in zip(sizes, SHAPES.items(), strict=False)
    }


def arena(step: dl.Step) -> bytes:
    """All variables: weights, statistics, momentum, step counter, learning rate."""
    return b"".join(step.array(v.name).tobytes() for v in step.plan.graph.variables)


def refused(step: dl.Step, arrays: dict[str, Array], error: type[Exception], *words: str) -> None:
    """The arrays are refused with these words, and nothing is written."""
    before = arena(step)
    with pytest.raises(error) as caught:
        step.load_state_dict(arrays)
    assert all(word in str(caught.value) for word in words), caught.value
    assert arena(step) == before


def test_names_shapes_and_dtypes(step: dl.Step) -> None:
    found = step.state_dict()
    assert {name: array.shape for name, array in found.items()} == SHAPES
    dtypes = {name.endswith("num_batches_tracked"): array.dtype for name, array in found.items()}
    assert dtypes == {False: np.float32, True: np.int64}


def test_round_trip(step: dl.Step) -> None:
    step.load_state_dict(numbered())
    found = step.state_dict()
    for name, array in numbered().items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.c_contiguous


def test_layouts_in_the_arena(step: dl.Step) -> None:
    """Filters are KRSC; the columns of the matrix after Flatten run over (H, W, C)."""
    step.load_state_dict(numbered())
    filters, matrix = numbered()["features.3.weight"], numbered()["fc.weight"]
    np.testing.assert_array_equal(step.array("features.3.weight"), filters.transpose(0, 2, 3, 1))
    flat = matrix.reshape(3, 6, 4, 2).transpose(0, 2, 3, 1).reshape(3, -1)
    np.testing.assert_array_equal(step.array("fc.weight"), flat)


def test_only_the_matrix_behind_flatten_has_other_columns() -> None:
    """Also where the first matrix is square, so that its output looks like what it reads."""
    layers = dl.Flatten(), dl.Linear(24), dl.ReLU(), dl.Linear(5)
    square = dl.compile(dl.Sequential(dl.Input((4, 2, 3)), *layers), 2)
    saved = square.state_dict()
    np.testing.assert_array_equal(saved["3.weight"], square.array("3.weight"))
    assert not np.array_equal(saved["1.weight"], square.array("1.weight"))


def test_training_goes_on_alike_in_another_step(step: dl.Step) -> None:
    images = np.random.default_rng(0).normal(size=(2, 6, 5, 4))
    other = dl.compile(network(), 2, optimizer=dl.SGD(momentum=0.9), seed=2)
    assert not np.array_equal(other.predict(images), step.predict(images))
    other.load_state_dict(step.state_dict())
    np.testing.assert_array_equal(other.predict(images), step.predict(images))
    assert other(images, [0, 2]) == step(images, [0, 2])
    for name, array in step.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array)


def test_a_state_dict_is_a_copy(step: dl.Step) -> None:
    before = arena(step)
    for array in step.state_dict().values():
        array[...] = 99
    assert arena(step) == before


def test_wrong_shape_writes_nothing(step: dl.Step) -> None:
    for name, shape in SHAPES.items():
        wrong = numbered() | {name: np.zeros((*shape, 2))}
        refused(step, wrong, ShapeError, name, str(shape), str((*shape, 2)))


def test_filters_in_minidls_layout_are_refused(step: dl.Step) -> None:
    wrong = numbered() | {"features.0.weight": np.zeros((8, 3, 3, 4))}
    refused(step, wrong, ShapeError, "features.0.weight", "(8, 4, 3, 3)")


def test_missing_and_unknown_names_write_nothing(step: dl.Step) -> None:
    for name in SHAPES:
        arrays = numbered()
        arrays[f"{name}s"] = arrays.pop(name)
        refused(step, arrays, ArgumentError, f"missing ['{name}']", f"unknown ['{name}s']")
    refused(step, {}, ArgumentError, "missing", *SHAPES)


def test_what_is_no_number_writes_nothing(step: dl.Step) -> None:
    """An array that cannot be converted is found before any other is written."""
    for name, shape in SHAPES.items():
        refused(step, numbered() | {name: np.full(shape, "seven")}, ArgumentError, name)
