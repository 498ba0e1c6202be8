"""Batch normalization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from minidl.ir import Array, Shape
from minidl.layers.batchnorm2d import BatchNorm2d
from minidl.ops import batchnorm2d, host
from minidl.ops.batchnorm2d import (
    batchnorm2d_dgrad,
    batchnorm2d_inference,
    batchnorm2d_normalize,
    batchnorm2d_statistics,
    batchnorm2d_wgrad,
)
from tests.layers.harness import (
    SEED,
    BadCase,
    Case,
    Check,
    each_check,
    each_refusal,
    forward_float32,
    forward_float64,
    in_place_changes_no_bit,
    refuses,
    shape_rule,
)

EXACT = {"rtol": 1e-12, "atol": 1e-14}
"""Of float64 numbers near 1: a sum near zero has the errors of what it is the sum of."""


def by_batch(x: Array, weight: Array, bias: Array) -> Array:
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def by_running(
    x: Array, weight: Array, bias: Array, running_mean: Array, running_var: Array
) -> Array:
    return (x - running_mean) / np.sqrt(running_var + 1e-5) * weight + bias


CASES = [
    Case("batchnorm", BatchNorm2d, ((2, 4, 5, 3),), by_batch),
    Case("batchnorm-1-channel", BatchNorm2d, ((3, 5, 4, 1),), by_batch),
    Case("batchnorm-1-pixel", BatchNorm2d, ((7, 1, 1, 4),), by_batch),
    Case("batchnorm-1-image", BatchNorm2d, ((1, 3, 3, 5),), by_batch),
    Case("batchnorm-parts", BatchNorm2d, ((3, 21, 23, 2),), by_batch),
    Case("batchnorm-wide", BatchNorm2d, ((2, 3, 2, 70),), by_batch),
]

INFERENCE = Case("batchnorm-inference", BatchNorm2d, ((2, 4, 5, 3),), by_running, training=False)

BAD = [
    BadCase("batchnorm-flat", BatchNorm2d, ((2, 8),), "4 dimensions"),
    BadCase("batchnorm-1-value", BatchNorm2d, ((1, 1, 1, 8),), "at least 2 values per channel"),
]


@each_check(CASES)
def test_batchnorm2d(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


# -- statistics -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """The arrays of one training step, and the running statistics after it."""

    x: Array
    dy: Array
    gamma: Array
    beta: Array
    running_mean: Array
    running_var: Array
    batches: Array

    @staticmethod
    def of(shape: Shape, offset: float = 0.0, dtype: str = "float64") -> Step:
        generator, channels = np.random.default_rng(SEED), shape[-1]
        x = offset + generator.normal(size=shape)
        dy = generator.normal(size=shape)
        vectors = generator.uniform(0.5, 2, (4, channels)).astype(dtype)
        return Step(x.astype(dtype), dy.astype(dtype), *vectors, np.full((), 41))

    def run(self, momentum: float = 0.1) -> tuple[Array, ...]:
        """y, mean, inv_std, dgamma, dbeta, dx."""
        y, dx = np.full_like(self.x, np.nan), np.full_like(self.x, np.nan)
        mean, inv_std, dgamma, dbeta = np.full((4, *self.gamma.shape), np.nan, self.x.dtype)
        scratch = np.full(2 * batchnorm2d.PARTS * self.gamma.size, np.nan, self.x.dtype)
        running = self.running_mean, self.running_var, self.batches
        written = mean, inv_std, *running, scratch
        batchnorm2d_statistics(*written, self.x, eps=1e-5, momentum=momentum)
        batchnorm2d_normalize(y, self.x, mean, inv_std, self.gamma, self.beta)
        batchnorm2d_wgrad(dgamma, dbeta, scratch, self.dy, self.x, mean, inv_std)
        batchnorm2d_dgrad(dx, self.dy, self.x, self.gamma, mean, inv_std, dgamma, dbeta)
        return y, mean, inv_std, dgamma, dbeta, dx


@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
def test_running_statistics(momentum: float) -> None:
    """The variance that is kept is the unbiased one."""
    step = Step.of((3, 4, 5, 6))
    before = step.running_mean.copy(), step.running_var.copy()
    step.run(momentum)
    now = step.x.mean(axis=(0, 1, 2)), step.x.var(axis=(0, 1, 2), ddof=1)
    for after, old, new in zip((step.running_mean, step.running_var), before, now, strict=True):
        np.testing.assert_allclose(after, (1 - momentum) * old + momentum * new, **EXACT)
    assert step.batches == 42


@pytest.mark.parametrize("channels", [1, 3, 64])
def test_large_mean_does_not_cancel_the_variance(channels: int) -> None:
    step = Step.of((8, 40, 40, channels), offset=1e4, dtype="float32")
    y, mean, inv_std, *_ = step.run()
    exact = step.x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(inv_std**-2.0, exact.var(axis=(0, 1, 2)) + 1e-5, rtol=1e-3)
    expected = by_batch(exact, step.gamma, step.beta)
    np.testing.assert_allclose(y, expected, atol=0.02)


def test_constant_channel() -> None:
    step = Step.of((2, 3, 4, 2))
    step.x[...] = 3.25
    y, mean, inv_std, *_ = step.run()
    np.testing.assert_array_equal(mean, 3.25)
    np.testing.assert_allclose(inv_std, 1e-5**-0.5)
    np.testing.assert_array_equal(y, np.broadcast_to(step.beta, y.shape))


def test_cores_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    many = Step.of((4, 30, 31, 3), dtype="float32").run()
    monkeypatch.setattr(host, "cores", lambda: 1)
    alone = Step.of((4, 30, 31, 3), dtype="float32").run()
    for one, other in zip(many, alone, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("parts", "rows"), [(1, 512), (1, 7), (5, 7), (64, 1)])
def test_parts_of_any_size(monkeypatch: pytest.MonkeyPatch, parts: int, rows: int) -> None:
    whole = Step.of((2, 7, 9, 4)).run()
    monkeypatch.setattr(batchnorm2d, "PARTS", parts)
    monkeypatch.setattr(batchnorm2d, "ROWS", rows)
    for one, other in zip(Step.of((2, 7, 9, 4)).run(), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "check",
    [shape_rule, forward_float64, forward_float32, in_place_changes_no_bit],
    ids=lambda check: check.__name__,
)
def test_inference(check: Check) -> None:
    check(INFERENCE)


def test_inference_by_any_statistics() -> None:
    step = Step.of((2, 3, 5, 4))
    y, running = np.empty_like(step.x), (step.running_mean, step.running_var)
    batchnorm2d_inference(y, step.x, step.gamma, step.beta, *running, eps=1e-5)
    np.testing.assert_allclose(y, by_running(step.x, step.gamma, step.beta, *running), **EXACT)
