"""An op that takes strided images has the same bits where their pixels lie apart: NumPy hands a
product to one routine of BLAS or another by its strides, and those sum in other orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import minidl as dl
from minidl.devices.cpu import bind, running
from minidl.ir import Array, Lowering, Op, Shape, ShapeError, Tensor
from minidl.ops.target import host_target
from minidl.options import Options

DRAWN = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
SMALL = st.integers(1, 4)
GAP = 3


def convolutions() -> st.SearchStrategy[dl.Layer]:
    """Few channels and filters: a product by one column or one row is where strides decide."""
    return st.builds(
        lambda groups, filters, kernel, stride, padding, bias: dl.Conv2d(
            groups * filters, kernel, stride=stride, padding=padding, groups=groups, bias=bias
        ),
        st.sampled_from([1, 1, 2, 3]),
        st.integers(1, 9),
        st.tuples(SMALL, SMALL),
        st.integers(1, 2),
        st.integers(0, 2),
        st.booleans(),
    )


def others() -> st.SearchStrategy[dl.Layer]:
    window = st.integers(1, 3)
    return st.one_of(
        st.sampled_from([dl.BatchNorm2d(), dl.ReLU(), dl.LeakyReLU(0.1), dl.Tanh(), dl.Sigmoid()]),
        st.sampled_from([dl.GELU(), dl.GELU("tanh"), dl.LocalResponseNorm(3), dl.Dropout(0.5)]),
        st.builds(dl.MaxPool2d, window, st.integers(1, 2)),
        st.builds(dl.AvgPool2d, window, st.integers(1, 2)),
        st.builds(dl.AdaptiveAvgPool2d, st.tuples(SMALL, SMALL)),
    )


@dataclass(frozen=True)
class Arrays:
    """Values of an op's tensors; images strided or not."""

    values: dict[Tensor, Array]

    def placed(self, op: Op, gap: int) -> dict[Tensor, Array]:
        arrays: dict[Tensor, Array] = {}
        for t in dict.fromkeys((*op.writes, *op.reads)):
            apart = gap if len(t.shape) == 4 and t.kind in ("activation", "gradient") else 0
            whole = np.full((*t.shape[:-1], t.shape[-1] + 2 * apart) if t.shape else (), 7, t.dtype)
            arrays[t] = whole[..., apart : apart + t.shape[-1]] if t.shape else whole
            arrays[t][...] = self.values[t]
        return arrays

    def after(self, op: Op, gap: int) -> list[bytes]:
        arrays = self.placed(op, gap)
        with running():
            bind(op, arrays)()
        return [arrays[t].tobytes() for t in op.writes if t.kind != "scratch"]


def drawn_values(op: Op, seed: int) -> Arrays:
    numbers = (np.random.default_rng((seed, k)) for k in count())
    values = {}
    for t in dict.fromkeys((*op.writes, *op.reads)):
        draw = next(numbers)
        floats = t.dtype.startswith("float")
        drawn = draw.normal(size=t.shape) if floats else draw.integers(0, 1, t.shape)
        values[t] = np.abs(drawn).astype(t.dtype) if t.kind == "state" else drawn.astype(t.dtype)
    return Arrays(values)


def assert_strides_leave_the_bits(
    layer: dl.Layer, image: Shape, dtype: str, seed: int, scratch_limit: int
) -> None:
    target = host_target(Options(scratch_limit=scratch_limit))
    lowering = Lowering(image[0], dtype=dtype, target=target, seed=1)
    try:
        layer.apply(lowering, "layer", Tensor("x", image, dtype, "activation"))
    except ShapeError:
        assume(False)
    (site,) = lowering.sites
    for op in (*site.forward_ops, *site.backward_ops):
        if op.contract.strided:
            values = drawn_values(op, seed)
            assert values.after(op, GAP) == values.after(op, 0), op.function.__name__


IMAGES = st.tuples(SMALL, st.integers(1, 9), st.integers(1, 9), st.integers(1, 7))


@DRAWN
@given(
    convolutions(),
    IMAGES,
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 99),
    st.sampled_from([2**12, 2**24]),
)
def test_convolutions(
    layer: dl.Conv2d, image: Shape, dtype: str, seed: int, scratch_limit: int
) -> None:
    n, h, w, c = image
    image = n, h, w, c * layer.groups
    assert_strides_leave_the_bits(layer, image, dtype, seed, scratch_limit)


@DRAWN
@given(others(), IMAGES, st.sampled_from(["float32", "float64"]), st.integers(0, 99))
def test_other_layers(layer: dl.Layer, image: Shape, dtype: str, seed: int) -> None:
    assert_strides_leave_the_bits(layer, image, dtype, seed, 2**24)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (2, 9), (1, 1)])
def test_wgrad_of_one_filter_or_one_column(shape: tuple[int, int], dtype: str) -> None:
    filters, channels = shape
    for kernel in (1, (3, 1), 3):
        layer = dl.Conv2d(filters, kernel)
        for seed in range(5):
            image = 4, 17, 13, channels
            assert_strides_leave_the_bits(layer, image, dtype, seed, 2**24)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("filters", "kernel", "stride", "padding", "image"),
    [
        (2, (1, 1), 1, 0, (1, 1, 2, 1)),
        (3, (1, 1), 1, 0, (1, 2, 3, 1)),
        (5, (3, 3), 1, 1, (2, 4, 5, 1)),
        (7, (3, 1), 2, 0, (1, 5, 4, 1)),
        (1, (1, 1), 1, 0, (1, 1, 2, 4)),
        (1, (3, 3), 1, 1, (2, 4, 5, 3)),
    ],
)
def test_one_channel_or_one_filter(
    filters: int, kernel: tuple[int, int], stride: int, padding: int, image: Shape, dtype: str
) -> None:
    """Products by one column, in forward, dgrad and wgrad."""
    layer = dl.Conv2d(filters, kernel, stride=stride, padding=padding)
    for seed in range(4):
        for scratch_limit in (2**12, 2**24):
            assert_strides_leave_the_bits(layer, image, dtype, seed, scratch_limit)
