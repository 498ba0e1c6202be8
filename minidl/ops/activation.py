"""Elementwise activations: equations in `minidl.layers.activation`."""

from __future__ import annotations

import math

import numpy as np

from minidl.ir import Array
from minidl.ops.signs import passes_relu


def relu_forward(y: Array, x: Array) -> None:
    np.maximum(x, 0, out=y)


def relu_dgrad(dx: Array, dy: Array, y: Array) -> None:
    bits = f"i{dx.itemsize}"  # the product of bits and 0 is +0, whatever the sign of dy
    np.multiply(dy.view(bits), passes_relu(y), out=dx.view(bits))


def leaky_relu_forward(y: Array, x: Array, *, slope: float) -> None:
    y[...] = np.where(x > 0, x, x * slope)


def leaky_relu_dgrad(dx: Array, dy: Array, y: Array, *, slope: float) -> None:
    dx[...] = np.where(y > 0, dy, dy * slope)


def sigmoid_forward(y: Array, x: Array) -> None:
    decay = np.exp(-np.abs(x))  # at most 1: nothing overflows
    np.divide(np.where(x >= 0, 1, decay), 1 + decay, out=y)


def sigmoid_dgrad(dx: Array, dy: Array, y: Array) -> None:
    np.multiply(dy, y * (1 - y), out=dx)


def tanh_forward(y: Array, x: Array) -> None:
    np.tanh(x, out=y)


def tanh_dgrad(dx: Array, dy: Array, y: Array) -> None:
    np.multiply(dy, 1 - y * y, out=dx)


def gelu_forward(y: Array, x: Array) -> None:
    np.multiply(x, normal_distribution(x), out=y)


def gelu_dgrad(dx: Array, dy: Array, x: Array) -> None:
    density = np.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    np.multiply(dy, normal_distribution(x) + x * density, out=dx)


def gelu_tanh_forward(y: Array, x: Array) -> None:
    np.multiply(x, 0.5 + 0.5 * np.tanh(_tanh_argument(x)), out=y)


def gelu_tanh_dgrad(dx: Array, dy: Array, x: Array) -> None:
    t = np.tanh(_tanh_argument(x))
    inner = SQRT_2_PI * (1 + 3 * CUBIC * x * x)
    np.multiply(dy, 0.5 + 0.5 * t + 0.5 * x * (1 - t * t) * inner, out=dx)


SQRT_2_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715


def _tanh_argument(x: Array) -> Array:
    return SQRT_2_PI * (x + CUBIC * x * x * x)


ERF = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
"""erf(z) = z P(z^2) / Q(z^2) for |z| <= SMALL, highest power first: W. J. Cody, Rational Chebyshev
approximations for the error function, Mathematics of Computation 23 (1969)."""

ERFC = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
     1.23033935480374942e3),
)  # fmt: skip
"""erfc(z) = exp(-z^2) P(z) / Q(z) for SMALL <= z <= 4; ibid. Above 4 the absolute error is still
below 1e-15, as erfc itself is below 1.6e-8."""

SMALL = 0.46875


def normal_distribution(x: Array) -> Array:
    """(1 + erf(x / sqrt(2))) / 2, to an absolute error of 1e-15 in float64."""
    z = np.abs(x) * math.sqrt(0.5)
    inner = np.minimum(z, SMALL)
    half = 0.5 * inner * _ratio(inner * inner, ERF)
    outer = np.clip(z, SMALL, 28)  # beyond, exp(-z^2) is 0
    tail = 0.5 * np.exp(-outer * outer) * _ratio(outer, ERFC)
    tail = np.where(z <= SMALL, 0.5 - half, tail)
    return np.where(x > 0, 1 - tail, tail)


def _ratio(x: Array, fraction: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    above, below = (_polynomial(x, coefficients) for coefficients in fraction)
    return above / below


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """Horner's rule, highest power first."""
    total = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        total *= x
        total += coefficient
    return total
