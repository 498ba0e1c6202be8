"""AlexNet, VGG-16 and `vgg_small` in PyTorch, as torchvision and the model zoo have them, by the
same names of parameters; torchvision itself is not needed."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

VGG16 = "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"
VGG_SMALL = "32 32 M 64 64 M 128 128 M"


def alexnet(classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """torchvision's AlexNet; images of 63x63 and more."""
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2),
        nn.ReLU(True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(True),
        nn.MaxPool2d(3, 2),
    )
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(9216, 4096),
        nn.ReLU(True),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(True),
        nn.Linear(4096, classes),
    )
    return _named(features, classifier, nn.AdaptiveAvgPool2d((6, 6)))


def vgg16() -> nn.Sequential:
    classifier = nn.Sequential(
        nn.Linear(25088, 4096),
        nn.ReLU(True),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(True),
        nn.Dropout(),
        nn.Linear(4096, 1000),
    )
    return _named(_convolutions(VGG16, batch_norm=False), classifier)


def vgg_small(classes: int = 10) -> nn.Sequential:
    """The model zoo's; images of 32x32."""
    return _named(_convolutions(VGG_SMALL, batch_norm=True), nn.Linear(128 * 4 * 4, classes))


def _convolutions(widths: str, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for width in widths.split():
        if width == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(channels, int(width), 3, padding=1))
        channels = int(width)
        layers += [nn.BatchNorm2d(channels), nn.ReLU(True)] if batch_norm else [nn.ReLU(True)]
    return nn.Sequential(*layers)


def _named(
    features: nn.Module, classifier: nn.Module, pool: nn.Module | None = None
) -> nn.Sequential:
    parts = OrderedDict(features=features)
    if pool is not None:
        parts["avgpool"] = pool
    return nn.Sequential(parts | OrderedDict(flatten=nn.Flatten(), classifier=classifier))
