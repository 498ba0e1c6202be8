"""VGG: Simonyan and Zisserman 2015, as torchvision has it."""

from __future__ import annotations

from collections.abc import Callable

import minidl as dl

LAYERS = {
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg13": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vgg_small": "32 32 M 64 64 M 128 128 M",
    "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
"""Widths of the 3x3 convolutions; M is a 2x2 max-pool."""


def vgg_of(
    widths: str,
    hidden: int,
    *,
    batch_norm: bool = False,
    classes: int = 1000,
    image: tuple[int, int, int] = (224, 224, 3),
    dropout: float = 0.5,
    name: str = "vgg",
) -> dl.Network:
    """A VGG with other widths: of its convolutions, written as in `LAYERS`, and of its hidden
    linear layers."""
    x = dl.Input(image)
    y = _features(widths, batch_norm)(x, name="features")
    y = dl.AdaptiveAvgPool2d((7, 7))(y, name="avgpool")
    y = dl.Flatten()(y, name="flatten")
    classifier = _classifier(hidden, classes, dropout)
    return dl.Network(x, classifier(y, name="classifier"), name=name)


def _features(widths: str, batch_norm: bool) -> dl.Sequential:
    layers: list[dl.Layer] = []
    for width in widths.split():
        if width == "M":
            layers.append(dl.MaxPool2d(2, 2))
            continue
        he, zero = dl.initial.kaiming_normal, dl.initial.constant(0)
        layers.append(dl.Conv2d(int(width), 3, padding=1, initial=he, initial_bias=zero))
        layers += [dl.BatchNorm2d(), dl.ReLU()] if batch_norm else [dl.ReLU()]
    return dl.Sequential(*layers)


def _classifier(hidden: int, classes: int, dropout: float) -> dl.Sequential:
    def linear(features: int) -> dl.Linear:
        normal, zero = dl.initial.normal(0.01), dl.initial.constant(0)
        return dl.Linear(features, initial=normal, initial_bias=zero)

    return dl.Sequential(
        linear(hidden),
        dl.ReLU(),
        dl.Dropout(dropout),
        linear(hidden),
        dl.ReLU(),
        dl.Dropout(dropout),
        linear(classes),
    )


def _published(name: str, batch_norm: bool = False) -> Callable[..., dl.Network]:
    def build(
        classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3), dropout: float = 0.5
    ) -> dl.Network:
        return vgg_of(
            LAYERS[name.removesuffix("_bn")],
            4096,
            batch_norm=batch_norm,
            classes=classes,
            image=image,
            dropout=dropout,
            name=name,
        )

    build.__name__ = name
    build.__doc__ = f"torchvision's {name}; images of 32x32 and more."
    return dl.builder(build)


vgg11, vgg11_bn = _published("vgg11"), _published("vgg11_bn", True)
vgg13, vgg13_bn = _published("vgg13"), _published("vgg13_bn", True)
vgg16, vgg16_bn = _published("vgg16"), _published("vgg16_bn", True)
vgg19, vgg19_bn = _published("vgg19"), _published("vgg19_bn", True)


@dl.builder
def vgg_small(classes: int = 10, image: tuple[int, int, int] = (32, 32, 3)) -> dl.Network:
    """Six 3x3 convolutions with batch normalization and one linear layer, for small images on
    small machines: 308,394 parameters at 10 classes and 32x32."""
    return _with_one_linear_layer("vgg_small", LAYERS["vgg_small"], classes, image)


@dl.builder
def vgg16_bn_small(classes: int = 10, image: tuple[int, int, int] = (32, 32, 3)) -> dl.Network:
    """The convolutions of vgg16_bn and one linear layer, as is usual for CIFAR-10: 14.7 million
    parameters at 10 classes and 32x32."""
    return _with_one_linear_layer("vgg16_bn_small", LAYERS["vgg16"], classes, image)


def _with_one_linear_layer(
    name: str, widths: str, classes: int, image: tuple[int, int, int]
) -> dl.Network:
    x = dl.Input(image)
    y = _features(widths, batch_norm=True)(x, name="features")
    y = dl.Linear(classes)(dl.Flatten()(y, name="flatten"), name="classifier")
    return dl.Network(x, y, name=name)
