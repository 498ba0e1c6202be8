"""ResNet: He, Zhang, Ren, Sun 2016, as torchvision has it (v1.5: the 3x3 carries the stride)."""

from __future__ import annotations

import minidl as dl


def _conv(features: int, kernel: int, stride: int = 1) -> dl.Conv2d:
    he = dl.initial.kaiming_normal
    padding = kernel // 2
    return dl.Conv2d(features, kernel, stride=stride, padding=padding, bias=False, initial=he)


def _block(
    x: dl.Node, width: int, stride: int, name: str, project: bool, bottleneck: bool
) -> dl.Node:
    """relu(body(x) + shortcut(x)), the shortcut projected where shapes change."""
    plan = [(width, 3, stride), (width, 3, 1)]
    if bottleneck:
        plan = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
    y = x
    for i, (features, kernel, step) in enumerate(plan, start=1):
        y = _conv(features, kernel, step)(y, name=f"{name}.conv{i}")
        y = dl.BatchNorm2d()(y, name=f"{name}.bn{i}")
        if i < len(plan):
            y = dl.ReLU()(y, name=f"{name}.relu{i}")
    shortcut = x
    if project:
        down = dl.Sequential(_conv(plan[-1][0], 1, stride), dl.BatchNorm2d())
        shortcut = down(x, name=f"{name}.downsample")
    return dl.ReLU()(dl.Add()(y, shortcut, name=f"{name}.add"), name=f"{name}.relu")


def resnet_of(
    depths: tuple[int, int, int, int],
    width: int = 64,
    *,
    bottleneck: bool = True,
    classes: int = 1000,
    image: tuple[int, int, int] = (224, 224, 3),
    name: str = "resnet",
) -> dl.Network:
    """A ResNet with so many blocks in each stage; width: of the first, each has twice that of the
    one before."""
    x = dl.Input(image)
    y = _conv(width, 7, 2)(x, name="conv1")
    y = dl.ReLU()(dl.BatchNorm2d()(y, name="bn1"), name="relu")
    y = dl.MaxPool2d(3, 2, padding=1)(y, name="maxpool")
    for stage, depth in enumerate(depths):
        for i in range(depth):
            stride = 2 if stage and not i else 1
            project = not i and (bottleneck or stage > 0)
            label = f"layer{stage + 1}.{i}"
            y = _block(y, width << stage, stride, label, project, bottleneck)
    y = dl.AdaptiveAvgPool2d(1)(y, name="avgpool")
    y = dl.Linear(classes)(dl.Flatten()(y, name="flatten"), name="fc")
    return dl.Network(x, y, name=name)


@dl.builder
def resnet18(classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3)) -> dl.Network:
    """torchvision's resnet18: 11.7 million parameters at 1,000 classes."""
    return resnet_of((2, 2, 2, 2), bottleneck=False, classes=classes, image=image, name="resnet18")


@dl.builder
def resnet34(classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3)) -> dl.Network:
    """torchvision's resnet34: 21.8 million parameters at 1,000 classes."""
    return resnet_of((3, 4, 6, 3), bottleneck=False, classes=classes, image=image, name="resnet34")


@dl.builder
def resnet50(classes: int = 1000, image: tuple[int, int, int] = (224, 224, 3)) -> dl.Network:
    """torchvision's resnet50: 25.6 million parameters at 1,000 classes."""
    return resnet_of((3, 4, 6, 3), classes=classes, image=image, name="resnet50")
