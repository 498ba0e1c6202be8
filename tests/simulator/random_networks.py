"""Random networks of few shapes, so that their kernels are compiled once: see `Growth`."""

from __future__ import annotations

import random
from typing import Any

import minidl as dl
from minidl.layers.base import Layer, Node
from tests.compiler.random_networks import Drawn, Growth

BATCH, IMAGE, WIDTH = 2, (6, 6, 8), 8
FAR = 24
"""Channels of a concatenation at most."""


class Chance(Growth):
    """A DAG that grows by chance. few: of few shapes; else of every size, as `Growth` draws it."""

    def __init__(self, chance: random.Random, few: bool) -> None:
        sides = chance.randint(3, 9), chance.randint(3, 9), chance.randint(1, 4)
        super().__init__(_no_draw, BATCH, IMAGE if few else sides, smooth=False)
        self.chance, self.few = chance, few

    def one_of(self, among: list[Drawn]) -> Drawn:
        return self.chance.choice(among)

    def number(self, low: int, high: int) -> int:
        return self.chance.randint(low, high)

    def yes(self) -> bool:
        return self.chance.random() < 0.5

    def trainable(self, x: Node) -> None:
        if not self.few:
            super().trainable(x)
            return
        shape = self.shape[x]
        layer: Layer = dl.Linear(WIDTH)
        if len(shape) == 4:
            side = self.one_of([1, 3, 3])
            layer = dl.Conv2d(WIDTH, side, padding=side // 2, bias=self.yes())
        if self.use(layer, x) is not None:
            self.shared.append((layer, shape[-1]))

    def pool(self, x: Node) -> None:
        layers: list[Layer] = [dl.MaxPool2d(2), dl.MaxPool2d(3, 1, padding=1)]
        if self.few:
            self.use(self.one_of([*layers, dl.AvgPool2d(3, 1, padding=1)]), x)
        else:
            super().pool(x)

    def concat(self, x: Node) -> None:
        fitting = [y for y, shape in self.shape.items() if shape[:-1] == self.shape[x][:-1]]
        other = self.one_of(fitting)
        if self.shape[x][-1] + self.shape[other][-1] <= FAR:
            self.use(dl.Concat(), x, other)


def _no_draw(_: Any) -> Any:
    raise AssertionError("drawn by chance, not by hypothesis")


def random_network(chance: random.Random, few: bool = True) -> dl.Network:
    grown = Chance(chance, few)
    for _ in range(chance.randint(3, 12)):
        grown.grow()
    return grown.network()


def random_optimizer(chance: random.Random) -> dl.Optimizer:
    decay = chance.choice([0.0, 5e-4])
    nesterov = dl.SGD(0.01, 0.9, weight_decay=decay, nesterov=True)
    return chance.choice([dl.SGD(0.01, 0.9, weight_decay=decay), nesterov, dl.Adam(1e-3)])
