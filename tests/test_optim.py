"""Optimizers against their formulas, written out in float64; the learning rate as a value."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

import minidl as dl
from minidl.ir import Array

SAMPLES, INPUTS, OUTPUTS = 5, 70, 4
STEPS = 5


def sgd(
    lr: float, momentum: float = 0.0, decay: float = 0.0, nesterov: bool = False
) -> Callable[[Array, list[Array]], Array]:
    """The weights after gradients g_1, g_2, ...: those before, and the gradients so far."""

    def after(w: Array, gradients: list[Array]) -> Array:
        v = np.zeros_like(w)
        for dw in gradients:
            g = dw + decay * w
            v = momentum * v + g
            w = w - lr * (g + momentum * v if nesterov else v)
        return w

    return after


def adam(
    lr: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    penalty: float = 0.0,
    decay: float = 0.0,
) -> Callable[[Array, list[Array]], Array]:
    def after(w: Array, gradients: list[Array]) -> Array:
        m, v = np.zeros_like(w), np.zeros_like(w)
        for t, dw in enumerate(gradients, start=1):
            w = w - lr * decay * w
            g = dw + penalty * w
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g**2
            w = w - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        return w

    return after


RULES: dict[str, tuple[dl.Optimizer, Callable[[Array, list[Array]], Array]]] = {
    "sgd": (dl.SGD(0.1), sgd(0.1)),
    "decay": (dl.SGD(0.1, weight_decay=0.3), sgd(0.1, decay=0.3)),
    "momentum": (dl.SGD(0.1, momentum=0.9), sgd(0.1, 0.9)),
    "momentum-decay": (dl.SGD(0.1, 0.8, weight_decay=0.2), sgd(0.1, 0.8, 0.2)),
    "nesterov": (dl.SGD(0.1, 0.9, nesterov=True), sgd(0.1, 0.9, nesterov=True)),
    "nesterov-decay": (dl.SGD(0.1, 0.7, weight_decay=0.2, nesterov=True), sgd(0.1, 0.7, 0.2, True)),
    "adam": (dl.Adam(), adam(1e-3)),
    "adam-all": (dl.Adam(0.02, (0.8, 0.95), 1e-3, 0.1), adam(0.02, 0.8, 0.95, 1e-3, penalty=0.1)),
    "adamw": (dl.AdamW(), adam(1e-3, decay=1e-2)),
    "adamw-all": (dl.AdamW(0.02, (0.8, 0.95), 1e-3, 0.1), adam(0.02, 0.8, 0.95, 1e-3, decay=0.1)),
    "adamw-none": (dl.AdamW(0.02, weight_decay=0), adam(0.02)),
}


def regression() -> tuple[dl.Network, Array, Array]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(SAMPLES, INPUTS))
    node = dl.Input(INPUTS)
    network = dl.Network(node, dl.Linear(OUTPUTS)(node, name="fc"))
    return network, x, generator.normal(size=(SAMPLES, OUTPUTS))


def gradients(x: Array, target: Array, w: Array, b: Array) -> tuple[Array, Array]:
    """Of mean((x w^T + b - target)^2)."""
    dy = 2 * (x @ w.T + b - target) / target.size
    return dy.T @ x, dy.sum(axis=0)


@pytest.mark.parametrize("memory", ["naive", "arena"])
@pytest.mark.parametrize("name", RULES)
def test_five_steps_by_formula(name: str, memory: str) -> None:
    optimizer, after = RULES[name]
    network, x, target = regression()
    how = {"loss": dl.MSE(), "optimizer": optimizer, "precision": "float64", "memory": memory}
    step = dl.compile(network, SAMPLES, **how)
    first_w, first_b = step.array("fc.weight").copy(), step.array("fc.bias").copy()
    first_w[:, 0], step.array("fc.weight")[:, 0] = 0, 0  # a weight that starts from zero
    w, b = first_w, first_b
    seen: list[tuple[Array, Array]] = []
    for _ in range(STEPS):
        seen.append(gradients(x, target, w, b))
        step(x, target)
        w, b = (
            after(a, list(g))
            for a, g in zip((first_w, first_b), zip(*seen, strict=True), strict=True)
        )
        np.testing.assert_allclose(step.array("fc.weight"), w, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(step.array("fc.bias"), b, rtol=1e-11, atol=1e-13)


def test_float32_follows_float64() -> None:
    for optimizer, after in RULES.values():
        network, x, target = regression()
        step = dl.compile(network, SAMPLES, loss=dl.MSE(), optimizer=optimizer)
        w, b = (step.array(f"fc.{n}").astype(np.float64) for n in ("weight", "bias"))
        step(x, target)
        expected = after(w, [gradients(x, target, w, b)[0]])
        np.testing.assert_allclose(step.array("fc.weight"), expected, rtol=1e-5, atol=1e-6)


# -- the learning rate -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_a_new_learning_rate_compiles_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer, _ = RULES[name]
    network, x, target = regression()
    how = {"loss": dl.MSE(), "optimizer": optimizer, "precision": "float64"}
    step = dl.compile(network, SAMPLES, **how)
    assert step.learning_rate == optimizer.lr

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("compiled again")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["minidl.recipe"], "Planner", refused)
        patch.setattr("minidl.devices.cpu.allocate", refused)
        step.learning_rate = 0.0
        before = step.array("fc.weight").copy()
        step(x, target)
        np.testing.assert_array_equal(step.array("fc.weight"), before)
        step.learning_rate = 0.25
        step(x, target)
    assert step.learning_rate == 0.25
    assert not np.array_equal(step.array("fc.weight"), before)


def test_a_new_learning_rate_is_the_one_used() -> None:
    network, x, target = regression()
    how = {"loss": dl.MSE(), "precision": "float64"}
    steps = [dl.compile(network, SAMPLES, optimizer=dl.SGD(lr), **how) for lr in (0.1, 0.3)]
    steps[0].learning_rate = 0.3
    for step in steps:
        step(x, target)
    assert steps[0].array("fc.weight").tobytes() == steps[1].array("fc.weight").tobytes()


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_learning_rates_are_refused(value: float) -> None:
    network, _, _ = regression()
    step = dl.compile(network, SAMPLES, loss=dl.MSE(), optimizer=dl.SGD(0.5))
    with pytest.raises(dl.ArgumentError, match="learning_rate"):
        step.learning_rate = value
    assert step.learning_rate == 0.5


NAN = float("nan")

BAD: list[tuple[Callable[[], dl.Optimizer], str]] = [
    (lambda: dl.SGD(-1), "SGD: lr must be .*got -1"),
    (lambda: dl.SGD(NAN), "SGD: lr must be .*got nan"),
    (lambda: dl.SGD(momentum=-0.1), "momentum must be .*got -0.1"),
    (lambda: dl.SGD(momentum=NAN), "momentum must be .*got nan"),
    (lambda: dl.SGD(weight_decay=-1e-4), "weight_decay must be .*got -0.0001"),
    (lambda: dl.SGD(nesterov=True), "nesterov=True"),
    (lambda: dl.Adam(-1), "Adam: lr must be .*got -1"),
    (lambda: dl.Adam(betas=(1.0, 0.9)), r"betas must be .*got \(1.0, 0.9\)"),
    (lambda: dl.Adam(betas=(0.9, -0.1)), r"betas must be .*got \(0.9, -0.1\)"),
    (lambda: dl.Adam(betas=(0.9, NAN)), r"betas must be .*got \(0.9, nan\)"),
    (lambda: dl.Adam(eps=-1e-8), "eps must be .*got -1e-08"),
    (lambda: dl.AdamW(weight_decay=-1), "AdamW: weight_decay must be .*got -1"),
]


@pytest.mark.parametrize(("build", "message"), BAD)
def test_bad_values_are_refused(build: Callable[[], dl.Optimizer], message: str) -> None:
    with pytest.raises(dl.ArgumentError, match=message):
        build()
