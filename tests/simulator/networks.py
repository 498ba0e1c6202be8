"""Small networks of the shapes that matter: AlexNet's, VGG's, ResNet's, GoogLeNet's."""

from __future__ import annotations

import minidl as dl
from minidl.layers.network import as_network

CLASSES = 5


def alexnet_shaped() -> dl.Network:
    """A strided first layer of large filters, LRN, pools that overlap, dropout."""
    return as_network(
        dl.Sequential(
            dl.Conv2d(8, 11, stride=4, padding=2),
            dl.ReLU(),
            dl.LocalResponseNorm(),
            dl.MaxPool2d(3, 2),
            dl.Conv2d(12, 5, padding=2, groups=2),
            dl.ReLU(),
            dl.MaxPool2d(3, 2),
            dl.AdaptiveAvgPool2d(2),
            dl.Flatten(),
            dl.Dropout(0.5),
            dl.Linear(20),
            dl.ReLU(),
            dl.Dropout(0.5),
            dl.Linear(CLASSES),
        ),
        (43, 43, 3),
    )


def vgg_shaped() -> dl.Network:
    """3x3 filters behind each other, 2x2 pools, batch normalization in one half."""
    return as_network(
        dl.Sequential(
            dl.Conv2d(8, 3, padding=1),
            dl.ReLU(),
            dl.Conv2d(8, 3, padding=1),
            dl.ReLU(),
            dl.MaxPool2d(2),
            dl.Conv2d(16, 3, padding=1, bias=False),
            dl.BatchNorm2d(),
            dl.ReLU(),
            dl.Conv2d(16, 3, padding=1, bias=False),
            dl.BatchNorm2d(),
            dl.ReLU(),
            dl.MaxPool2d(2),
            dl.Flatten(),
            dl.Linear(24),
            dl.ReLU(),
            dl.Linear(CLASSES),
        ),
        (12, 12, 3),
    )


def resnet_shaped() -> dl.Network:
    """Bottlenecks, one of them strided with a projection; bytes in front."""
    x = dl.Input((16, 16, 3), dtype="uint8")
    y = dl.Normalize(mean=(120.0, 110.0, 100.0), std=(60.0, 61.0, 62.0))(x)
    y = dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(8, 7, stride=2, padding=3, bias=False)(y)))
    y = dl.MaxPool2d(3, 2, padding=1)(y)
    y = _bottleneck(y, 4, 16, stride=1, project=True)
    y = _bottleneck(y, 4, 16, stride=1, project=False)
    y = _bottleneck(y, 8, 32, stride=2, project=True)
    y = dl.Flatten()(dl.AdaptiveAvgPool2d(1)(y))
    return dl.Network(x, dl.Linear(CLASSES)(y))


def _bottleneck(x, width: int, features: int, stride: int, project: bool):  # type: ignore[no-untyped-def]
    y = dl.ReLU()(dl.BatchNorm2d()(dl.Conv2d(width, 1, bias=False)(x)))
    y = dl.Conv2d(width, 3, stride=stride, padding=1, bias=False)(y)
    y = dl.ReLU()(dl.BatchNorm2d()(y))
    y = dl.BatchNorm2d()(dl.Conv2d(features, 1, bias=False)(y))
    if project:
        x = dl.BatchNorm2d()(dl.Conv2d(features, 1, stride=stride, bias=False)(x))
    return dl.ReLU()(dl.Add()(y, x))


def googlenet_shaped() -> dl.Network:
    """Branches that are joined, of channels that no vector divides; an average pool."""
    x = dl.Input((9, 9, 4))
    y = dl.ReLU()(dl.Conv2d(8, 3, padding=1)(x))
    branches = (
        dl.ReLU()(dl.Conv2d(4, 1)(y)),
        dl.ReLU()(dl.Conv2d(6, 3, padding=1)(dl.ReLU()(dl.Conv2d(3, 1)(y)))),
        dl.ReLU()(dl.Conv2d(5, 1)(dl.MaxPool2d(3, 1, padding=1)(y))),
        dl.LeakyReLU()(dl.Conv2d(8, 1)(dl.AvgPool2d(3, 1, padding=1)(y))),
    )
    y = dl.Concat()(*branches)
    y = dl.ReLU()(dl.Conv2d(16, 3, stride=2)(y))
    return dl.Network(x, dl.Linear(CLASSES)(dl.Flatten()(y)))


NETWORKS = {
    build.__name__: build for build in (alexnet_shaped, vgg_shaped, resnet_shaped, googlenet_shaped)
}
