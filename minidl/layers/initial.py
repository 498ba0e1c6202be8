"""First values of parameters. Each is `f(generator, shape) -> array`; filters are KRSC."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from minidl.ir import Array, Shape
from minidl.ir.calls import called
from minidl.ir.readers import FUNCTION, real
from minidl.ir.site import filled

Initial = Callable[[np.random.Generator, Shape], Array]

INITIAL = replace(
    FUNCTION, what="a function (generator, shape) -> array", hint="write normal(0.01)"
)


def fan_in(shape: Shape) -> int:
    """Inputs of one output of a filter (K, R, S, C) or matrix (features, inputs)."""
    return math.prod(shape[1:])


def fan_out(shape: Shape) -> int:
    """Outputs that one input of a filter or matrix feeds."""
    return math.prod(shape[:-1])


@called()
def constant(value: float) -> Initial:
    return filled(value)


@called(readers={"bound": real(0)})
def uniform(bound: float) -> Initial:
    """U(-bound, bound)."""
    return partial(_uniform, bound)


@called(readers={"std": real(0)})
def normal(std: float) -> Initial:
    """N(0, std^2)."""
    return partial(_normal, std)


# partials of these, and no closures, so that plans can be pickled


def _uniform(bound: float, generator: np.random.Generator, shape: Shape) -> Array:
    return generator.uniform(-bound, bound, shape)


def _normal(std: float, generator: np.random.Generator, shape: Shape) -> Array:
    return generator.normal(0.0, std, shape)


def lecun_uniform(generator: np.random.Generator, shape: Shape) -> Array:
    """U(-b, b), b = 1 / sqrt(fan_in): PyTorch's default for convolutions and linear layers."""
    bound = 1 / math.sqrt(fan_in(shape))
    return generator.uniform(-bound, bound, shape)


def he_normal(generator: np.random.Generator, shape: Shape) -> Array:
    """N(0, 2 / fan_in): He et al. 2015; a ReLU layer then keeps the mean square of its input."""
    return generator.normal(0.0, math.sqrt(2 / fan_in(shape)), shape)


def kaiming_normal(generator: np.random.Generator, shape: Shape) -> Array:
    """N(0, 2 / fan_out): He et al. 2015, backward's form; torchvision's VGG and ResNet."""
    return generator.normal(0.0, math.sqrt(2 / fan_out(shape)), shape)
