"""LeNet-5: LeCun, Bottou, Bengio, Haffner 1998."""

from __future__ import annotations

import minidl as dl


@dl.builder
def lenet(classes: int = 10, image: tuple[int, int, int] = (32, 32, 1)) -> dl.Network:
    """LeNet-5 in today's form: max-pooling, a softmax at the end; 62 thousand parameters."""
    x = dl.Input(image)
    layers = dl.Sequential(
        dl.Conv2d(6, 5),
        dl.Tanh(),
        dl.MaxPool2d(2),
        dl.Conv2d(16, 5),
        dl.Tanh(),
        dl.MaxPool2d(2),
        dl.Flatten(),
        dl.Linear(120),
        dl.Tanh(),
        dl.Linear(84),
        dl.Tanh(),
        dl.Linear(classes),
    )
    return dl.Network(x, layers(x, name=""), name="lenet")
