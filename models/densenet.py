"""DenseNet: Huang, Liu, van der Maaten, Weinberger 2017, as torchvision has it."""

from __future__ import annotations

import minidl as dl

GROWTH = 32
"""Features that each layer adds to those of all layers before it in its block."""

BOTTLENECK = 4
"""Features before the 3x3 convolution, as a multiple of the growth."""


def _conv(features: int, kernel: int, stride: int = 1, padding: int = 0) -> dl.Conv2d:
    he = dl.initial.kaiming_normal
    return dl.Conv2d(features, kernel, stride=stride, padding=padding, bias=False, initial=he)


def _norm_relu_conv(x: dl.Node, conv: dl.Conv2d, name: str, index: str = "") -> dl.Node:
    y = dl.BatchNorm2d()(x, name=f"{name}.norm{index}")
    y = dl.ReLU()(y, name=f"{name}.relu{index}")
    return conv(y, name=f"{name}.conv{index}")


def _dense_layer(x: dl.Node, name: str) -> dl.Node:
    """x and `GROWTH` features more."""
    y = _norm_relu_conv(x, _conv(BOTTLENECK * GROWTH, 1), name, "1")
    y = _norm_relu_conv(y, _conv(GROWTH, 3, padding=1), name, "2")
    return dl.Concat()(x, y, name=f"{name}.concat")


def _densenet(
    name: str, blocks: tuple[int, ...], first: int, classes: int, image: tuple[int, int, int]
) -> dl.Network:
    x = dl.Input(image)
    y = _conv(first, 7, 2, padding=3)(x, name="features.conv0")
    y = dl.ReLU()(dl.BatchNorm2d()(y, name="features.norm0"), name="features.relu0")
    y = dl.MaxPool2d(3, 2, padding=1)(y, name="features.pool0")
    features = first
    for i, depth in enumerate(blocks, start=1):
        for j in range(1, depth + 1):
            y = _dense_layer(y, f"features.denseblock{i}.denselayer{j}")
        features += depth * GROWTH
        if i < len(blocks):
            features //= 2
            y = _norm_relu_conv(y, _conv(features, 1), f"features.transition{i}")
            y = dl.AvgPool2d(2)(y, name=f"features.transition{i}.pool")
    y = dl.ReLU()(dl.BatchNorm2d()(y, name="features.norm5"), name="relu")
    y = dl.AdaptiveAvgPool2d(1)(y, name="avgpool")
    y = dl.Linear(classes)(dl.Flatten()(y, name="flatten"), name="classifier")
    return dl.Network(x, y, name=name)


@dl.builder
def densenet121(classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3)) -> dl.Network:
    """torchvision's densenet121: 8.0 million parameters at 1,000 classes."""
    return _densenet("densenet121", (6, 12, 24, 16), 64, classes, image)
