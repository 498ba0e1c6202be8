"""AlexNet: Krizhevsky, Sutskever, Hinton 2012, and its one-column form of 2014."""

from __future__ import annotations

from collections.abc import Sequence

import minidl as dl


@dl.builder
def alexnet(
    classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3), dropout: float = 0.5
) -> dl.Network:
    """torchvision's AlexNet (Krizhevsky 2014, *One weird trick*): 61.1 million parameters at
    1,000 classes. Images of 63x63 and more.

    First weights are He's for convolutions and N(0, 0.01^2) for linear layers, as in 2012;
    with torchvision's own, PyTorch's defaults, nothing is learned for many epochs.
    """

    return alexnet_of(WIDTHS, 4096, classes=classes, image=image, dropout=dropout)


WIDTHS = ((64,), (192,), (384, 256, 256))
"""Of the convolutions, those between two pools together."""


def alexnet_of(
    widths: Sequence[Sequence[int]],
    hidden: int,
    *,
    classes: int = 1000,
    image: tuple[int, int, int] = (224, 224, 3),
    dropout: float = 0.5,
) -> dl.Network:
    """`alexnet` with other widths: of its convolutions as in `WIDTHS`, with one before the first
    pool, any number of 5x5 before the second and of 3x3 before the third; and of its hidden linear
    layers."""

    def conv(features: int, kernel: int, stride: int = 1, padding: int = 0) -> dl.Conv2d:
        he, zero = dl.initial.he_normal, dl.initial.constant(0)
        return dl.Conv2d(
            features, kernel, stride=stride, padding=padding, initial=he, initial_bias=zero
        )

    def linear(features: int) -> dl.Linear:
        normal, zero = dl.initial.normal(0.01), dl.initial.constant(0)
        return dl.Linear(features, initial=normal, initial_bias=zero)

    (first,), second, third = widths
    features = dl.Sequential(
        conv(first, 11, stride=4, padding=2),
        dl.ReLU(),
        dl.MaxPool2d(3, 2),
        *(layer for width in second for layer in (conv(width, 5, padding=2), dl.ReLU())),
        dl.MaxPool2d(3, 2),
        *(layer for width in third for layer in (conv(width, 3, padding=1), dl.ReLU())),
        dl.MaxPool2d(3, 2),
    )
    classifier = dl.Sequential(
        dl.Dropout(dropout),
        linear(hidden),
        dl.ReLU(),
        dl.Dropout(dropout),
        linear(hidden),
        dl.ReLU(),
        linear(classes),
    )
    return _network("alexnet", image, features, classifier, dl.AdaptiveAvgPool2d((6, 6)))


@dl.builder
def alexnet_2012(
    classes: int = 1000, image: tuple[int, int, int] = (227, 227, 3), dropout: float = 0.5
) -> dl.Network:
    """The network of 2012 as Caffe lays it out (bvlc_alexnet): two groups, LRN after ReLU;
    61.0 million parameters at 1,000 classes."""

    def normalise() -> dl.LocalResponseNorm:
        return dl.LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=1.0)

    features = dl.Sequential(
        dl.Conv2d(96, 11, stride=4, initial=dl.initial.normal(0.01)),
        dl.ReLU(),
        normalise(),
        dl.MaxPool2d(3, 2),
        dl.Conv2d(256, 5, padding=2, groups=2, initial=dl.initial.normal(0.01)),
        dl.ReLU(),
        normalise(),
        dl.MaxPool2d(3, 2),
        dl.Conv2d(384, 3, padding=1, initial=dl.initial.normal(0.01)),
        dl.ReLU(),
        dl.Conv2d(384, 3, padding=1, groups=2, initial=dl.initial.normal(0.01)),
        dl.ReLU(),
        dl.Conv2d(256, 3, padding=1, groups=2, initial=dl.initial.normal(0.01)),
        dl.ReLU(),
        dl.MaxPool2d(3, 2),
    )
    classifier = dl.Sequential(
        dl.Linear(4096, initial=dl.initial.normal(0.005)),
        dl.ReLU(),
        dl.Dropout(dropout),
        dl.Linear(4096, initial=dl.initial.normal(0.005)),
        dl.ReLU(),
        dl.Dropout(dropout),
        dl.Linear(classes, initial=dl.initial.normal(0.01)),
    )
    return _network("alexnet_2012", image, features, classifier)


def _network(
    name: str,
    image: tuple[int, int, int],
    features: dl.Sequential,
    classifier: dl.Sequential,
    avgpool: dl.Layer | None = None,
) -> dl.Network:
    x = dl.Input(image)
    y = features(x, name="features")
    if avgpool is not None:
        y = avgpool(y, name="avgpool")
    y = dl.Flatten()(y, name="flatten")
    return dl.Network(x, classifier(y, name="classifier"), name=name)
