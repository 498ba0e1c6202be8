"""The model zoo: torchvision's names, parameter names and layouts; public minidl names only."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

import minidl as dl

from .alexnet import alexnet, alexnet_2012
from .densenet import densenet121
from .googlenet import googlenet
from .lenet import lenet
from .resnet import resnet18, resnet34, resnet50
from .vgg import (
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg16_bn_small,
    vgg19,
    vgg19_bn,
    vgg_small,
)

MODELS: dict[str, Callable[..., dl.Network]] = {
    build.__name__: build
    for build in (
        alexnet,
        alexnet_2012,
        densenet121,
        googlenet,
        lenet,
        resnet18,
        resnet34,
        resnet50,
        vgg11,
        vgg11_bn,
        vgg13,
        vgg13_bn,
        vgg16,
        vgg16_bn,
        vgg16_bn_small,
        vgg19,
        vgg19_bn,
        vgg_small,
    )
}
"""Every model by its name."""

__all__ = ["MODELS", *MODELS]


def __getattr__(name: str) -> object:
    near = get_close_matches(name, MODELS, 3, 0.5)
    said = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(MODELS)}"
    raise AttributeError(f"there is no model {name!r}: {said}")
