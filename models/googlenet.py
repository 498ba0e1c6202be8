"""GoogLeNet: Szegedy et al. 2015, as torchvision has it: BatchNorm, and 3x3 in the third branch."""

from __future__ import annotations

import minidl as dl

WIDTHS = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "maxpool3": None,
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "maxpool4": None,
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
"""Features of each block: 1x1, before the 3x3, 3x3, before the other 3x3, it, after the pool."""


def _conv(x: dl.Node, features: int, kernel: int, name: str, stride: int = 1) -> dl.Node:
    he = dl.initial.kaiming_normal
    layer = dl.Conv2d(features, kernel, stride=stride, padding=kernel // 2, bias=False, initial=he)
    y = dl.BatchNorm2d(eps=1e-3)(layer(x, name=f"{name}.conv"), name=f"{name}.bn")
    return dl.ReLU()(y, name=f"{name}.relu")


def _inception(x: dl.Node, widths: tuple[int, ...], name: str) -> dl.Node:
    """Four branches side by side along the channels."""
    one, before3, three, before5, five, pooled = widths
    a = _conv(x, one, 1, f"{name}.branch1")
    b = _conv(_conv(x, before3, 1, f"{name}.branch2.0"), three, 3, f"{name}.branch2.1")
    c = _conv(_conv(x, before5, 1, f"{name}.branch3.0"), five, 3, f"{name}.branch3.1")
    d = dl.MaxPool2d(3, 1, padding=1, ceil_mode=True)(x, name=f"{name}.branch4.0")
    d = _conv(d, pooled, 1, f"{name}.branch4.1")
    return dl.Concat()(a, b, c, d, name=f"{name}.concat")


@dl.builder
def googlenet(
    classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3), dropout: float = 0.2
) -> dl.Network:
    """torchvision's googlenet without auxiliary heads: 6.6 million parameters at 1,000 classes."""
    x = dl.Input(image)
    y = _conv(x, 64, 7, "conv1", stride=2)
    y = dl.MaxPool2d(3, 2, ceil_mode=True)(y, name="maxpool1")
    y = _conv(_conv(y, 64, 1, "conv2"), 192, 3, "conv3")
    y = dl.MaxPool2d(3, 2, ceil_mode=True)(y, name="maxpool2")
    for name, widths in WIDTHS.items():
        if widths is not None:
            y = _inception(y, widths, name)
        else:
            kernel = 3 if name == "maxpool3" else 2
            y = dl.MaxPool2d(kernel, 2, ceil_mode=True)(y, name=name)
    y = dl.AdaptiveAvgPool2d(1)(y, name="avgpool")
    y = dl.Dropout(dropout)(dl.Flatten()(y, name="flatten"), name="dropout")
    return dl.Network(x, dl.Linear(classes)(y, name="fc"), name="googlenet")
