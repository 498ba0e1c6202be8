"""Pools of sliding windows and of bins."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import pytest

from minidl.ir import Array, Lowering, Shape, Tensor
from minidl.layers.pool2d import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from minidl.ops import host, pool2d
from minidl.ops.activation import relu_dgrad, relu_forward
from minidl.ops.pool2d import (
    adaptive_avgpool2d_dgrad,
    adaptive_avgpool2d_forward,
    avgpool2d_dgrad,
    avgpool2d_forward,
    maxpool2d_dgrad,
    maxpool2d_forward,
)
from tests.layers.harness import SEED, BadCase, Case, Check, each_check, each_refusal, refuses

Pair = tuple[int, int]
Reference = Callable[[Array], Array]

# -- references: one window at a time -------------------------------------------------------------


def starts(
    size: int, kernel: int, stride: int, padding: int, dilation: int, over: bool
) -> list[int]:
    """Where windows start: the first at -padding, the last inside of the padded image, or, if it
    may hang over, at the first that reaches its end and starts before the far padding."""
    extent = dilation * (kernel - 1) + 1
    found = [-padding]
    while found[-1] + extent < size + padding:
        following = found[-1] + stride
        if following >= size if over else following + extent > size + padding:
            break
        found.append(following)
    return found


def taken(x: Array, top: int, left: int, kernel: Pair, dilation: Pair) -> list[tuple[int, Array]]:
    """The taps of one window that lie in the image, with the pixels that they read."""
    taps = []
    for r, s in itertools.product(range(kernel[0]), range(kernel[1])):
        i, j = top + r * dilation[0], left + s * dilation[1]
        if 0 <= i < x.shape[1] and 0 <= j < x.shape[2]:
            taps.append((r * kernel[1] + s, x[:, i, j]))
    return taps


def pooled(
    x: Array,
    value: Callable[[list[tuple[int, Array]], int, int], Array],
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair = (1, 1),
    over: bool = False,
) -> Array:
    """`value(taps, top, left)` of every window."""
    tops, lefts = (
        starts(x.shape[1 + a], kernel[a], stride[a], padding[a], dilation[a], over) for a in (0, 1)
    )
    rows = [
        np.stack([value(taken(x, i, j, kernel, dilation), i, j) for j in lefts], axis=1)
        for i in tops
    ]
    return np.stack(rows, axis=1)


def maximum(*geometry: Any) -> Reference:
    return lambda x: pooled(x, lambda taps, *_: np.max([v for _, v in taps], axis=0), *geometry)


def chosen_taps(x: Array, *geometry: Any) -> Array:
    """The first of the largest, the last NaN: PyTorch's choice."""

    def chosen(taps: list[tuple[int, Array]], *_: int) -> Array:
        index, values = np.array([t for t, _ in taps]), np.array([v for _, v in taps])
        last_nan = len(taps) - 1 - np.argmax(np.isnan(values[::-1]), axis=0)
        return index[np.where(np.isnan(values).any(axis=0), last_nan, np.argmax(values, axis=0))]

    return pooled(x, chosen, *geometry)


def average(
    kernel: Pair, stride: Pair, padding: Pair, over: bool = False, padded: bool = True
) -> Reference:
    def reference(x: Array) -> Array:
        far = [x.shape[1 + a] + padding[a] for a in (0, 1)]

        def mean(taps: list[tuple[int, Array]], top: int, left: int) -> Array:
            inside = min(top + kernel[0], far[0]) - top, min(left + kernel[1], far[1]) - left
            count = inside[0] * inside[1] if padded else len(taps)
            return np.sum([v for _, v in taps], axis=0) / count

        return pooled(x, mean, kernel, stride, padding, (1, 1), over)

    return reference


def bins_average(height: int, width: int) -> Reference:
    def edges(size: int, count: int) -> list[Pair]:
        ratio = Fraction(size, count)
        return [(floor(i * ratio), ceil((i + 1) * ratio)) for i in range(count)]

    def reference(x: Array) -> Array:
        y = np.empty((x.shape[0], height, width, x.shape[3]))
        for p, (top, bottom) in enumerate(edges(x.shape[1], height)):
            for q, (left, right) in enumerate(edges(x.shape[2], width)):
                y[:, p, q] = x[:, top:bottom, left:right].mean(axis=(1, 2))
        return y

    return reference


CASES = [
    Case("max-2", lambda: MaxPool2d(2), ((2, 6, 4, 5),), maximum((2, 2), (2, 2), (0, 0))),
    Case("max-2-odd", lambda: MaxPool2d(2), ((3, 7, 5, 3),), maximum((2, 2), (2, 2), (0, 0))),
    Case("max-3-by-2", lambda: MaxPool2d(3, 2), ((2, 9, 8, 4),), maximum((3, 3), (2, 2), (0, 0))),
    Case(
        "max-3-by-1", lambda: MaxPool2d(3, 1, 1), ((2, 5, 6, 3),), maximum((3, 3), (1, 1), (1, 1))
    ),
    Case(
        "max-padded",
        lambda: MaxPool2d((3, 5), (2, 3), (1, 2)),
        ((2, 8, 9, 3),),
        maximum((3, 5), (2, 3), (1, 2)),
    ),
    Case(
        "max-over",
        lambda: MaxPool2d(3, 2, 1, ceil_mode=True),
        ((1, 8, 6, 2),),
        maximum((3, 3), (2, 2), (1, 1), (1, 1), True),
    ),
    Case(
        "max-dilated",
        lambda: MaxPool2d((2, 3), (1, 2), (1, 1), (3, 2)),
        ((2, 9, 8, 3),),
        maximum((2, 3), (1, 2), (1, 1), (3, 2)),
    ),
    Case("max-sparse", lambda: MaxPool2d(1, 3), ((2, 7, 8, 3),), maximum((1, 1), (3, 3), (0, 0))),
    Case(
        "max-global",
        lambda: MaxPool2d((4, 17)),
        ((2, 4, 17, 3),),
        maximum((4, 17), (4, 17), (0, 0)),
    ),
    Case("max-289", lambda: MaxPool2d(17, 2), ((1, 18, 20, 2),), maximum((17, 17), (2, 2), (0, 0))),
    Case("avg-2", lambda: AvgPool2d(2), ((2, 6, 5, 4),), average((2, 2), (2, 2), (0, 0))),
    Case("avg-3-by-2", lambda: AvgPool2d(3, 2), ((2, 9, 8, 4),), average((3, 3), (2, 2), (0, 0))),
    Case(
        "avg-padded",
        lambda: AvgPool2d((3, 4), (2, 3), (1, 2)),
        ((2, 8, 9, 3),),
        average((3, 4), (2, 3), (1, 2)),
    ),
    Case(
        "avg-over",
        lambda: AvgPool2d(3, 2, 1, ceil_mode=True),
        ((1, 8, 6, 2),),
        average((3, 3), (2, 2), (1, 1), True),
    ),
    Case(
        "avg-over-inside",
        lambda: AvgPool2d(4, 3, 2, ceil_mode=True, count_include_pad=False),
        ((2, 8, 9, 2),),
        average((4, 4), (3, 3), (2, 2), True, False),
    ),
    Case("bins", lambda: AdaptiveAvgPool2d((3, 4)), ((2, 7, 9, 3),), bins_average(3, 4)),
    Case("bins-even", lambda: AdaptiveAvgPool2d(2), ((2, 6, 4, 3),), bins_average(2, 2)),
    Case("bins-more", lambda: AdaptiveAvgPool2d((5, 7)), ((1, 3, 5, 2),), bins_average(5, 7)),
    Case("bins-one", lambda: AdaptiveAvgPool2d(1), ((3, 5, 7, 4),), bins_average(1, 1)),
]

BAD = [
    BadCase("max-flat", lambda: MaxPool2d(2), ((2, 8),), "4 dimensions"),
    BadCase("max-small", lambda: MaxPool2d(3), ((2, 2, 8, 1),), "larger than the input's height 2"),
    BadCase("avg-small", lambda: AvgPool2d(3), ((2, 8, 2, 1),), "larger than the input's width 2"),
    BadCase("max-padding", lambda: MaxPool2d(3, 2, 2), ((2, 8, 8, 1),), "half of the kernel"),
    BadCase("avg-padding", lambda: AvgPool2d(2, 2, -1), ((2, 8, 8, 1),), "padding must be a whole"),
    BadCase("max-stride", lambda: MaxPool2d(3, 0), ((2, 8, 8, 1),), "at least 1"),
    BadCase("max-taps", lambda: MaxPool2d(300), ((1, 300, 300, 1),), "at most 65536"),
    BadCase("bins-none", lambda: AdaptiveAvgPool2d(0), ((2, 8, 8, 1),), "at least 1"),
    BadCase("bins-flat", lambda: AdaptiveAvgPool2d(1), ((2, 8),), "4 dimensions"),
]


@each_check(CASES)
def test_pool2d(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


# -- what a table of smooth cases does not show ---------------------------------------------------

GEOMETRIES = [
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), True),
    ((3, 2), (1, 2), (1, 1), (2, 3), False),
]
each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)


def draw(shape: Shape, *values: float) -> Array:
    return np.random.default_rng(SEED).choice(np.array(values, np.float32), shape)


def pool(geometry: Any) -> MaxPool2d:
    *sizes, ceil_mode = geometry
    return MaxPool2d(*sizes, ceil_mode=ceil_mode)


def forward(x: Array, geometry: Any) -> tuple[Array, Array]:
    window = pool(geometry).window
    shape = (x.shape[0], *window.output_size(*x.shape[1:3]), x.shape[3])
    y, argmax = np.full(shape, np.nan, x.dtype), np.full(shape, 255, np.uint8)
    maxpool2d_forward(y, argmax, x, window=window)
    return y, argmax


def backward(x: Array, dy: Array, argmax: Array, geometry: Any) -> Array:
    dx = np.full_like(x, np.nan)
    maxpool2d_dgrad(dx, dy, argmax, window=pool(geometry).window)
    return dx


@each_geometry
@pytest.mark.parametrize(
    "values", [(0, 1, 2), (-np.inf, -1), (-np.inf,), (np.nan, 1, 2), (np.inf, np.nan)], ids=str
)
def test_argmax_is_the_first_maximum_or_the_last_nan(
    geometry: Any, values: tuple[float, ...]
) -> None:
    x = draw((2, 9, 8, 3), *values)
    y, argmax = forward(x, geometry)
    np.testing.assert_array_equal(y, maximum(*geometry)(x))
    np.testing.assert_array_equal(argmax, chosen_taps(x, *geometry))


@each_geometry
def test_gradient_goes_to_argmax_alone(geometry: Any) -> None:
    x = draw((2, 9, 8, 3), -1, 0, 1)
    y, argmax = forward(x, geometry)
    dy = draw(y.shape, -np.inf, -2, 3)
    kernel, stride, padding, dilation, _ = geometry
    expected = np.zeros_like(x)
    for index in np.argsort(argmax.ravel(), kind="stable"):
        n, p, q, c = np.unravel_index(index, y.shape)
        r, s = divmod(int(argmax[n, p, q, c]), kernel[1])
        i = p * stride[0] - padding[0] + r * dilation[0]
        j = q * stride[1] - padding[1] + s * dilation[1]
        expected[n, i, j, c] += dy[n, p, q, c]
    dx = backward(x, dy, argmax, geometry)
    np.testing.assert_array_equal(dx, expected)
    assert not np.signbit(dx[dx == 0]).any()


@each_geometry
def test_max_pool_and_relu_commute(geometry: Any) -> None:
    """Also in an image with NaN, infinities and both zeros, forward and backward."""
    x = draw((2, 9, 8, 3), np.nan, -np.inf, -1, -0.0, 0, 1, np.inf)
    positive = np.empty_like(x)
    relu_forward(positive, x)
    last, chosen_last = forward(positive, geometry)
    pooled_first, chosen_first = forward(x, geometry)
    first = np.empty_like(last)
    relu_forward(first, pooled_first)
    assert first.tobytes() == last.tobytes()

    dy = draw(first.shape, -1, -0.0, 2, np.inf)
    after, before = np.empty_like(x), np.empty_like(dy)
    relu_dgrad(after, backward(x, dy, chosen_last, geometry), positive)
    relu_dgrad(before, dy, first)
    assert backward(x, before, chosen_first, geometry).tobytes() == after.tobytes()


def every_op(shape: Shape) -> list[Array]:
    """Outputs of all ops of this file on a fresh image."""
    x = np.random.default_rng(SEED).normal(size=shape)
    outputs: list[Array] = []
    for geometry in GEOMETRIES:
        y, argmax = forward(x, geometry)
        outputs += [y, argmax, backward(x, y, argmax, geometry)]
    window = AvgPool2d(3, 2, 1).window
    y = np.empty((shape[0], *window.output_size(*shape[1:3]), shape[3]))
    avgpool2d_forward(y, x, window=window, count_include_pad=False)
    z = np.empty((shape[0], 3, 4, shape[3]))
    adaptive_avgpool2d_forward(z, x)
    dx, dz = np.empty_like(x), np.empty_like(x)
    avgpool2d_dgrad(dx, y, window=window, count_include_pad=False)
    adaptive_avgpool2d_dgrad(dz, z)
    return [*outputs, y, z, dx, dz]


@pytest.mark.parametrize("temporary", [8, 200, 2000])
def test_regions_and_cores_change_no_bit(monkeypatch: pytest.MonkeyPatch, temporary: int) -> None:
    whole = every_op((3, 11, 14, 5))
    monkeypatch.setattr(pool2d, "TEMPORARY", temporary)
    monkeypatch.setattr(host, "cores", lambda: 1)
    for one, other in zip(every_op((3, 11, 14, 5)), whole, strict=True):
        assert one.tobytes() == other.tobytes()


def test_adaptive_pool_to_the_same_size_is_no_op() -> None:
    lowering, x = Lowering(2), Tensor("x", (2, 6, 7, 3), "float32", "activation")
    assert AdaptiveAvgPool2d((6, 7)).apply(lowering, "there", x) is x
    assert not lowering.sites[0].forward_ops
    assert not lowering.sites[0].backward_ops


@pytest.mark.parametrize(
    ("pool", "sides", "blocks"),
    [
        (MaxPool2d(2), (8, 6), (2, 2)),
        (MaxPool2d(2), (9, 7), (2, 2)),
        (MaxPool2d(4), (8, 8), (4, 4)),
        (MaxPool2d((1, 2)), (5, 6), (1, 2)),
        (MaxPool2d((2, 4)), (6, 8), (2, 4)),
        (MaxPool2d(3), (9, 9), None),  # 9 elements are no power of 2
        (MaxPool2d(8), (8, 8), None),  # too many
        (MaxPool2d(2, 1), (8, 8), None),  # one over the other
        (MaxPool2d(2, 3), (8, 8), None),  # gaps
        (MaxPool2d(2, padding=1), (8, 8), None),
        (MaxPool2d(2, dilation=2), (8, 8), None),
        (MaxPool2d(2, ceil_mode=True), (9, 8), None),  # the last window reaches over the edge
    ],
)
def test_windows_side_by_side_are_blocks(
    pool: MaxPool2d, sides: tuple[int, int], blocks: tuple[int, int] | None
) -> None:
    """A convolution on a GPU takes the maximum of such windows as it stores them."""
    lowering, x = Lowering(1), Tensor("x", (1, *sides, 3), "float32", "activation")
    pool.apply(lowering, "there", x)
    (forward_op,) = lowering.sites[0].forward_ops
    assert forward_op.contract.blocks == blocks


def test_argmax_takes_the_fewest_bytes() -> None:
    for kernel, dtype in ((16, "uint8"), (17, "uint16")):
        lowering, x = Lowering(1), Tensor("x", (1, 20, 20, 3), "float32", "activation")
        MaxPool2d(kernel).apply(lowering, "there", x)
        assert lowering.sites[0].forward_ops[0].writes[1].dtype == dtype
