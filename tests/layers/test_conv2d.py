"""Conv2d against one dot product for each output pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minidl.ir import Array, Lowering, Shape, Tensor
from minidl.layers.conv2d import Conv2d
from minidl.ops.target import host_target
from minidl.ops.window import Pair
from minidl.options import SCRATCH_LIMIT, Options
from tests.layers.harness import BadCase, Bench, Case, Check, each_check, each_refusal, refuses

Reference = Callable[..., Array]


def convolution(
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Reference:
    def reference(x: Array, weight: Array, bias: Array | None = None) -> Array:
        (n, h, w, c), (k, taps_r, taps_s, _) = x.shape, weight.shape
        padded = np.zeros((n, h + 2 * padding[0], w + 2 * padding[1], c))
        padded[:, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = x
        rows = (padded.shape[1] - dilation[0] * (taps_r - 1) - 1) // stride[0] + 1
        columns = (padded.shape[2] - dilation[1] * (taps_s - 1) - 1) // stride[1] + 1
        y = np.zeros((n, rows, columns, k))
        filters = weight.reshape(groups, k // groups, taps_r, taps_s, c // groups)
        for p, q in np.ndindex(rows, columns):
            r = p * stride[0] + dilation[0] * np.arange(taps_r)
            s = q * stride[1] + dilation[1] * np.arange(taps_s)
            patch = padded[:, r][:, :, s].reshape(n, taps_r, taps_s, groups, c // groups)
            y[:, p, q] = np.einsum("nrsgc,gkrsc->ngk", patch, filters).reshape(n, k)
        return y if bias is None else y + bias

    return reference


def conv(
    name: str,
    shape: Shape,
    features: int,
    kernel: int | Pair,
    limit: int = SCRATCH_LIMIT,
    **how: Any,
) -> Case:
    both = {k: how[k] for k in ("stride", "padding", "dilation") if k in how}
    pairs = {k: (v, v) if isinstance(v, int) else v for k, v in both.items()}
    reference = convolution(groups=how.get("groups", 1), **pairs)
    layer = Conv2d(features, kernel, **how)
    return Case(name, lambda: layer, (shape,), reference, scratch_limit=limit)


CASES = [
    conv("3x3", (2, 5, 6, 3), 4, 3, padding=1),
    conv("valid", (2, 5, 4, 2), 3, 3),
    conv("no-bias", (2, 5, 4, 2), 3, 3, bias=False),
    conv("1x1", (2, 5, 4, 6), 3, 1),
    conv("1x1-stride-2", (2, 5, 6, 3), 4, 1, stride=2),
    conv("1x1-padded", (2, 3, 4, 3), 4, 1, padding=1),
    conv("1x1-groups", (2, 3, 4, 6), 4, 1, groups=2),
    conv("stride-2", (2, 7, 8, 3), 4, 3, stride=2, padding=1),
    conv("stride-over-kernel", (2, 9, 8, 3), 4, 2, stride=3),
    conv("far-padding", (2, 3, 2, 2), 3, 2, padding=4, stride=3),
    conv("dilation", (2, 9, 8, 2), 3, 3, dilation=2, padding=2),
    conv("dilation-stride", (2, 11, 12, 2), 3, (3, 2), dilation=(2, 3), stride=(2, 3), padding=1),
    conv("pairs", (2, 7, 9, 2), 3, (1, 5), stride=(2, 1), padding=(0, 2)),
    conv("tall", (1, 9, 1, 2), 3, (5, 1), padding=(2, 0)),
    conv("one-pixel", (3, 1, 1, 5), 4, 3, padding=1),
    conv("whole-image", (3, 4, 5, 2), 6, (4, 5)),
    conv("groups", (2, 5, 6, 6), 4, 3, padding=1, groups=2),
    conv("depthwise", (2, 5, 6, 3), 6, 3, padding=1, groups=3),
    conv("groups-stride", (2, 7, 7, 4), 6, 3, padding=1, groups=2, stride=2, bias=False),
    conv("11x11-stride-4", (2, 35, 39, 3), 8, 11, stride=4, padding=2),
    conv("7x7-stride-2", (2, 15, 17, 3), 5, 7, stride=2, padding=3),
    conv("one-channel", (3, 8, 8, 1), 1, 3),
    conv("few-channels-many-pixels", (2, 19, 26, 3), 8, 3, padding=1),
    conv("few-channels-dilated-rows", (2, 18, 9, 2), 5, 3, padding=2, dilation=(2, 1)),
    conv("tiles-of-rows", (3, 13, 11, 3), 5, 3, padding=1, limit=20_000),
    conv("tile-of-one-row", (2, 9, 11, 3), 5, 3, padding=1, limit=1),
    conv("tiles-of-rows-stride", (3, 13, 11, 4), 6, 3, limit=1, stride=2, padding=1, groups=2),
    conv("tiles-of-rows-dilated", (2, 13, 11, 2), 5, 3, limit=1, dilation=(3, 2), padding=3),
    conv("tiles-of-rows-1x1", (3, 13, 11, 4), 6, 1, limit=1),
    conv("tiles-of-images", (23, 5, 7, 2), 3, 3, padding=1, limit=40_000),
    conv("some-tiles", (2, 24, 24, 20), 12, 3, padding=1),
    conv("many-tiles", (9, 24, 24, 20), 12, 3, padding=1),
    conv("many-channels", (2, 6, 6, 130), 33, 3, padding=1),
]

BAD = [
    BadCase("vector", lambda: Conv2d(4, 3), ((2, 9),), "needs 4 dimensions (batch, height"),
    BadCase("too-large", lambda: Conv2d(4, 5), ((2, 4, 9, 3),), "larger than the input's height 4"),
    BadCase("too-wide", lambda: Conv2d(4, 3, dilation=4), ((2, 9, 8, 3),), "input's width 8"),
    BadCase("groups", lambda: Conv2d(4, 3, groups=2), ((2, 5, 5, 3),), "groups=2 must divide"),
    BadCase("features", lambda: Conv2d(3, 3, groups=2), ((2, 5, 5, 4),), "the 3 features"),
    BadCase("none", lambda: Conv2d(0, 3), ((2, 5, 5, 3),), "Conv2d: features must be"),
    BadCase("stride", lambda: Conv2d(4, 3, stride=0), ((2, 5, 5, 3),), "stride"),
    BadCase(
        "padding",
        lambda: Conv2d(4, 3, padding=-1),
        ((2, 5, 5, 3),),
        "padding must be a whole",
    ),
]


@each_check(CASES)
def test_conv2d(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


@pytest.mark.parametrize("limit", [1 << 16, 1 << 18, 1 << 20])
def test_scratch_stays_within_its_limit(limit: int) -> None:
    lowering = Lowering(8, target=host_target(Options(scratch_limit=limit)))
    x = Tensor("x", (8, 32, 32, 4), "float32", "activation")
    Conv2d(16, 3, padding=1).apply(lowering, "conv", x)
    (site,) = lowering.sites
    scratch = [
        t.nbytes
        for op in (*site.forward_ops, *site.backward_ops)
        for t in op.writes
        if t.kind == "scratch" and op.function.__name__ != "bias_wgrad"
    ]
    assert len(scratch) == 3
    assert max(scratch) <= limit


def test_weights_in_pytorch_layout_and_back() -> None:
    bench = Bench.of(CASES[0])
    (weight, *_) = bench.lowering.variables.values()
    array = bench.values[weight.tensor]
    assert array.shape == (4, 3, 3, 3)
    stored = weight.to_torch(array)
    assert stored[1, 2, 0, 1] == array[1, 0, 1, 2]
    np.testing.assert_array_equal(weight.from_torch(stored), array)
