"""The checks check: each wrong layer below is caught by the check that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from minidl.ir import Array, Shape, Site, Tensor
from minidl.layers.base import Layer
from tests.layers import harness
from tests.layers.harness import Case, Check


def forward(y: Array, w: Array, x: Array) -> None:
    np.multiply(x, x, out=y)
    y *= w


def dgrad(dx: Array, dy: Array, x: Array, w: Array) -> None:
    np.multiply(dy, 2 * x * w, out=dx)


def wgrad(dw: Array, dy: Array, x: Array) -> None:
    dw[...] = (dy * x * x).sum(axis=0)


def forward_slightly_off(y: Array, w: Array, x: Array) -> None:
    y[...] = x * x * w * (1 + 1e-5)


def forward_first_row_only(y: Array, w: Array, x: Array) -> None:
    y[:1] = x[:1] * x[:1] * w


def forward_changing_x(y: Array, w: Array, x: Array) -> None:
    forward(y, w, x)
    x[0, 0] += 1


def dgrad_without_w(dx: Array, dy: Array, x: Array, w: Array) -> None:
    np.multiply(dy, 2 * x, out=dx)


def dgrad_writing_early(dx: Array, dy: Array, x: Array, w: Array) -> None:
    np.multiply(dy, 2 * w, out=dx)
    dx *= x


def wgrad_of_one_sample(dw: Array, dy: Array, x: Array) -> None:
    dw[...] = dy[0] * x[0] * x[0]


@dataclass(frozen=True, eq=False)
class Squares(Layer):
    """y = w x^2, with replaceable parts."""

    forward: Callable[..., None] = forward
    dgrad: Callable[..., None] = dgrad
    wgrad: Callable[..., None] = wgrad
    extra_rows: int = 0
    flops: Callable[[Tensor], int] = lambda y: 2 * y.size

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0][0] + self.extra_rows, inputs[0][1]

    def lower(self, site: Site, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        y = site.activation(x.shape)
        w = site.parameter("weight", x.shape[1:], lambda generator, shape: np.ones(shape))
        dy = site.gradient(y)
        work = self.flops(y)
        site.forward(_flipped(self.forward), writes=[y], reads=[x, w], flops=work)
        places = ((0, 0), (0, 1))
        site.dgrad(self.dgrad, writes=[site.gradient(x)], reads=[dy, x, w], in_place=places)
        site.wgrad(self.wgrad, writes=[site.gradient(w)], reads=[dy, x])
        return y


def _flipped(function: Callable[..., None]) -> Callable[..., None]:
    return lambda y, x, w: function(y, w, x)


def case(**parts: Any) -> Case:
    def reference(x: Array, weight: Array) -> Array:
        return np.asarray(weight * x**2)

    return Case("squares", lambda: Squares(**parts), ((5, 9),), reference)


WRONG: list[tuple[Check, dict[str, Any]]] = [
    (harness.shape_rule, {"extra_rows": 1}),
    (harness.work_grows_with_the_batch, {"flops": lambda y: y.size + 2}),
    (harness.forward_float64, {"forward": forward_slightly_off}),
    (harness.forward_float64, {"forward": forward_first_row_only}),
    (harness.forward_float32, {"forward": forward_slightly_off}),
    (harness.gradient_along_a_line, {"dgrad": dgrad_without_w}),
    (harness.gradient_along_a_line, {"wgrad": wgrad_of_one_sample}),
    (harness.gradient_of_elements, {"dgrad": dgrad_without_w}),
    (harness.gradient_of_elements, {"wgrad": wgrad_of_one_sample}),
    (harness.in_place_changes_no_bit, {"dgrad": dgrad_writing_early}),
    (harness.garbage_chunks_and_cores_change_no_bit, {"forward": forward_first_row_only}),
    (harness.garbage_chunks_and_cores_change_no_bit, {"forward": forward_changing_x}),
]


@pytest.mark.parametrize("check", harness.CHECKS)
def test_a_right_layer_passes(check: Check) -> None:
    check(case())


@pytest.mark.parametrize(("check", "parts"), WRONG)
def test_a_wrong_layer_is_caught(check: Check, parts: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check(case(**parts))


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 5, 5, 7), (20, 1000)])
def test_spread_keeps_its_distance(shape: Shape) -> None:
    values = np.sort(harness.spread(np.random.default_rng(), shape).ravel())
    assert np.abs(values).min() > 4 * harness.STEP
    assert np.diff(values).min(initial=1) > 4 * harness.STEP
