"""Updates of weights and optimizer state: equations in `minidl.optim`."""

from __future__ import annotations

import numpy as np

from minidl.ir import Array


def sgd(w: Array, dw: Array, lr: Array, *, weight_decay: float) -> None:
    w -= lr * _decayed(dw, w, weight_decay)


def sgd_momentum(v: Array, w: Array, dw: Array, *, momentum: float, weight_decay: float) -> None:
    v *= momentum
    v += _decayed(dw, w, weight_decay)


def sgd_step(w: Array, v: Array, lr: Array) -> None:
    w -= lr * v


def sgd_nesterov(
    w: Array, v: Array, dw: Array, lr: Array, *, momentum: float, weight_decay: float
) -> None:
    g = _decayed(dw, w, weight_decay)
    v *= momentum
    v += g
    w -= lr * (g + momentum * v)


def _decayed(dw: Array, w: Array, weight_decay: float) -> Array:
    return dw + weight_decay * w if weight_decay else dw


def adam_moments(
    m: Array, v: Array, *w_dw: Array, betas: tuple[float, float], weight_decay: float
) -> None:
    g = _decayed(w_dw[-1], w_dw[0], weight_decay)
    m += (1 - betas[0]) * (g - m)
    v *= betas[1]
    v += (1 - betas[1]) * (g * g)


def adam_step(
    w: Array,
    m: Array,
    v: Array,
    lr: Array,
    step: Array,
    *,
    betas: tuple[float, float],
    eps: float,
    decoupled_decay: float,
) -> None:
    t, rate = int(step) + 1, float(lr)
    if decoupled_decay:
        w *= 1 - rate * decoupled_decay
    root = np.sqrt(v)
    root /= (1 - betas[1] ** t) ** 0.5
    root += eps
    w -= (rate / (1 - betas[0] ** t)) * (m / root)
