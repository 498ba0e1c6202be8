"""Local response normalization."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from minidl.ir import Array
from minidl.layers.lrn import LocalResponseNorm
from minidl.ops import host, pixels
from minidl.ops.lrn import lrn_dgrad, lrn_forward
from tests.layers.harness import SEED, BadCase, Case, Check, each_check, each_refusal, refuses


def normalized(
    size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Callable[[Array], Array]:
    """Channel by channel."""

    def reference(x: Array) -> Array:
        y = np.empty_like(x)
        for c in range(x.shape[3]):
            near = x[..., max(0, c - size // 2) : c + (size - 1) // 2 + 1]
            y[..., c] = x[..., c] / (k + alpha / size * (near * near).sum(axis=3)) ** beta
        return y

    return reference


CASES = [
    Case("lrn", LocalResponseNorm, ((2, 3, 4, 8),), normalized()),
    Case(
        "lrn-strong",
        lambda: LocalResponseNorm(5, alpha=2.0, k=2.0),
        ((2, 3, 5, 7),),
        normalized(5, 2.0, 0.75, 2.0),
    ),
    Case(
        "lrn-even",
        lambda: LocalResponseNorm(4, 1.5, 0.5, 0.5),
        ((1, 3, 3, 6),),
        normalized(4, 1.5, 0.5, 0.5),
    ),
    Case("lrn-wide", lambda: LocalResponseNorm(9, 1.0), ((2, 2, 3, 3),), normalized(9, 1.0)),
    Case("lrn-alone", lambda: LocalResponseNorm(1, 1.0), ((2, 2, 3, 4),), normalized(1, 1.0)),
    Case("lrn-1-channel", lambda: LocalResponseNorm(5, 1.0), ((2, 2, 3, 1),), normalized(5, 1.0)),
]

BAD = [
    BadCase("lrn-flat", LocalResponseNorm, ((2, 8),), "4 dimensions"),
    BadCase("lrn-size", lambda: LocalResponseNorm(0), ((2, 3, 3, 8),), "at least 1"),
]


@each_check(CASES)
def test_lrn(check: Check, case: Case) -> None:
    check(case)


@each_refusal(BAD)
def test_refusal(case: BadCase) -> None:
    refuses(case)


def test_chunks_and_cores_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, dy = np.random.default_rng(SEED).normal(size=(2, 3, 5, 7, 6)).astype(np.float32)

    def both() -> bytes:
        y, dx = np.empty_like(x), np.empty_like(x)
        lrn_forward(y, x, size=5, alpha=1.0, beta=0.75, k=1.0)
        lrn_dgrad(dx, dy, x, size=5, alpha=1.0, beta=0.75, k=1.0)
        return y.tobytes() + dx.tobytes()

    whole = both()
    monkeypatch.setattr(pixels, "CHUNK", 40)
    monkeypatch.setattr(host, "cores", lambda: 1)
    assert both() == whole
