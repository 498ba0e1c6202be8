"""Layers' arguments as ONNX's attributes, which are float32, and back.

What is read is the shortest decimal with the attribute's bits: in float32 arithmetic it is the
number that every runtime computes with, and 0.1 is 0.1 in float64 too. Where a layer's argument is
another float64, the model's metadata has it, which holds as long as the attribute has its bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np


def shortest(attribute: float) -> float:
    """The shortest decimal number with the bits of a float32."""
    return float(str(np.float32(attribute)))


def rest(argument: float) -> float:
    return 1 - argument


def shortest_rest(attribute: float) -> float:
    """1 - attribute in decimals: that of 0.99 is 0.01."""
    number = Decimal(str(np.float32(attribute)))
    return float(1 - number) if number.is_finite() else attribute


@dataclass(frozen=True)
class Number:
    """How an argument is an attribute, and what an attribute means by itself."""

    written: Callable[[float], float] = float
    read: Callable[[float], float] = shortest


SAME = Number()
REST = Number(rest, shortest_rest)
"""BatchNorm2d's momentum: ONNX's is what is left of the old statistics."""


ADAPTIVE = "adaptive"
"""The mark of an average over windows that is AdaptiveAvgPool2d: the sums are rounded otherwise."""


@dataclass
class Arguments:
    """Arguments that attributes alone would not give back, by node and by the layer's own name."""

    noted: dict[str, dict[str, float]] = field(default_factory=dict)

    def write(self, node: str, own: str, argument: float, number: Number = SAME) -> float:
        """The attribute that says an argument."""
        attribute = number.written(argument)
        if number.read(attribute) != argument:
            self.noted.setdefault(node, {})[own] = argument
        return attribute

    def mark(self, node: str, own: str) -> None:
        """Note of a node what no attribute of it could say."""
        self.noted.setdefault(node, {})[own] = 1

    def is_marked(self, node: str, own: str) -> bool:
        return bool(self.noted.get(node, {}).get(own))

    def read(self, node: str, own: str, attribute: float, number: Number = SAME) -> float:
        """The argument that an attribute says."""
        found = self.noted.get(node, {}).get(own)
        if found is not None and _same_bits(number.written(found), attribute):
            return found
        return number.read(attribute)


def _same_bits(a: float, b: float) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.float32(a) == np.float32(b))
