"""The networks of docs/larger.py: the published ones, and larger and smaller ones like them."""

from __future__ import annotations

import pytest

import minidl as dl
from docs.larger import EIGHTHS, FAMILIES, Family
from minidl import models

PUBLISHED = {"alexnet": "alexnet", "vgg": "vgg16", "resnet": "resnet50"}


def layers(network: dl.Network) -> list[str]:
    return repr(network).splitlines()[1:]


def weights(network: dl.Network) -> list[tuple[int, ...]]:
    """Shapes, of what has more than one axis."""
    plan = dl.plan(network, 1, memory="naive", device="cuda")
    return [v.tensor.shape for v in plan.graph.variables if v.saved and len(v.tensor.shape) > 1]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_published_network_is_one_of_them(family: Family) -> None:
    published = models.MODELS[PUBLISHED[family.name]]()
    assert layers(family.deep(family.published)) == layers(published)
    assert layers(family.wide(EIGHTHS)) == layers(published)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_layers_with_weights_are_counted(family: Family) -> None:
    """Of a ResNet without its projections, as in the paper."""
    for size in (1, family.published + 1):
        found = weights(family.deep(size))
        projections = 4 if family.name == "resnet" else 0
        assert len(found) - projections == family.layers(size)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_twice_as_wide_is_twice_as_wide(family: Family) -> None:
    once, twice = (weights(family.wide(n * EIGHTHS)) for n in (1, 2))
    assert [2 * shape[0] for shape in once[:-1]] == [shape[0] for shape in twice[:-1]]
    assert twice[-1][0] == once[-1][0] == 1000
