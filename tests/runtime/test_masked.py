"""Masked arrays: wherever one comes in, it is refused by name before anything changes; one whose
mask is empty is an array."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl import train
from minidl.interop import export_onnx, save_weights
from minidl.ir import Array

X = np.arange(24, dtype=np.float32).reshape(4, 6) / 24
Y = np.array([0, 1, 2, 0])


def masked(array: Array) -> Any:
    """The array, an element of it masked."""
    mask = np.zeros(array.shape, bool)
    mask.flat[1] = True
    return np.ma.masked_array(array, mask)


def network() -> dl.Sequential:
    return dl.Sequential(dl.Input(6), dl.Linear(3))


def weights(
    step: dl.Step, read: Callable[[dl.Step], dict[str, Array]], hide: Any
) -> dict[str, Any]:
    return {name: hide(a) if name == "0.weight" else a for name, a in read(step).items()}


def state(step: dl.Step, hide: Any) -> dict[str, Any]:
    return weights(step, dl.Step.state_dict, hide)


DOORS: dict[str, tuple[Callable[[dl.Step, Any, Path], Any], str]] = {
    "step, images": (lambda step, hide, _: step(hide(X), Y), "input"),
    "step, labels": (lambda step, hide, _: step(X, hide(Y)), "target"),
    "step, a list": (lambda step, hide, _: step([hide(row) for row in X], Y), "input"),
    "put": (lambda step, hide, _: step.put(hide(X), Y), "input"),
    "feed": (lambda step, hide, _: list(step.feed([(X, hide(Y))])), "target"),
    "trace": (lambda step, hide, path: step.trace(path / "trace", hide(X), Y), "input"),
    "predict": (lambda step, hide, _: step.predict(hide(X)), "input"),
    "load_state_dict": (
        lambda step, hide, _: step.load_state_dict(state(step, hide)),
        "0.weight",
    ),
    "load_variables": (
        lambda step, hide, _: step.load_variables(weights(step, dl.Step.variables_dict, hide)),
        "0.weight",
    ),
    "save_weights": (
        lambda step, hide, path: save_weights(path / "w.safetensors", state(step, hide)),
        "0.weight",
    ),
    "export_onnx": (
        lambda step, hide, path: export_onnx(network(), state(step, hide), path / "m.onnx"),
        "0.weight",
    ),
    "Ema": (lambda step, hide, _: train.Ema().load(state(step, hide)), "0.weight"),
    "measure": (lambda step, hide, _: train.measure(step, [(X, hide(Y))]), "targets"),
    "Metrics": (lambda step, hide, _: train.Metrics().add(step.predict(X), hide(Y)), "targets"),
    "evaluate": (lambda step, hide, _: train.evaluate(step, X, hide(Y)), "labels"),
    "fit, a list of batches": (
        lambda step, hide, _: train.Trainer(step, quiet=True).fit([(X, hide(Y))]),
        "array 1 of a batch",
    ),
    "fit, Shuffled": (
        lambda step, hide, _: train.Trainer(step, quiet=True).fit(train.Shuffled(X, hide(Y), 4)),
        "labels",
    ),
}
"""Where arrays come in, and what is named."""


@pytest.mark.parametrize("door", DOORS)
def test_a_masked_array_is_refused(door: str, tmp_path: Path) -> None:
    if door == "export_onnx":
        pytest.importorskip("onnx")
    enter, name = DOORS[door]
    step = dl.compile(network(), 4)
    before = {name: array.tobytes() for name, array in step.variables_dict().items()}
    with pytest.raises(dl.ArgumentError, match=rf"\b{name}: \d masked elements") as caught:
        enter(step, masked, tmp_path)
    assert "filled" in caught.value.hint
    assert {name: array.tobytes() for name, array in step.variables_dict().items()} == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("door", DOORS)
def test_an_empty_mask_hides_nothing(door: str, tmp_path: Path) -> None:
    if door == "export_onnx":
        pytest.importorskip("onnx")
    enter, _ = DOORS[door]
    steps = [dl.compile(network(), 4) for _ in range(2)]
    for step, hide in zip(steps, (np.ma.masked_array, np.asarray), strict=True):
        enter(step, hide, tmp_path)
    one, other = ({n: a.tobytes() for n, a in s.variables_dict().items()} for s in steps)
    assert one == other
