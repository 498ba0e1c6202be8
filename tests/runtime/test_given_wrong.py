"""What a step is given and must not take as it is: bytes for floats, arrays with masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.ir import ArgumentError, Array
from minidl.train import Trainer


def step_of(normalised: bool = False) -> dl.Step:
    net = dl.Sequential(dl.Input((4, 4, 3)), dl.Flatten(), dl.Linear(2))
    return dl.compile(dl.from_bytes(net, 127.5, 127.5) if normalised else net, batch=2)


LABELS = np.array([0, 1])
FLOATS, BYTES = np.ones((2, 4, 4, 3), np.float32), np.ones((2, 4, 4, 3), np.uint8)

GIVE: dict[str, Callable[[dl.Step, Array, Array], Any]] = {
    "call": lambda step, images, labels: step(images, labels),
    "put": lambda step, images, labels: step.put(images, labels),
    "predict": lambda step, images, _: step.predict(images),
    "feed": lambda step, images, labels: list(step.feed([(images, labels)])),
    "fit": lambda step, images, labels: Trainer(step, quiet=True).fit([(images, labels)], None, 1),
}


@pytest.mark.parametrize("how", GIVE)
def test_bytes_are_no_floats(how: str) -> None:
    """Nobody has normalised them; a network that does so itself takes them."""
    with pytest.raises(ArgumentError, match="are not normalised") as caught:
        GIVE[how](step_of(), BYTES, LABELS)
    assert "from_bytes" in caught.value.hint
    GIVE[how](step_of(normalised=True), BYTES, LABELS)
    GIVE[how](step_of(), FLOATS, LABELS)


@pytest.mark.parametrize("how", GIVE)
def test_a_mask_is_not_lost(how: str) -> None:
    masked = np.ma.MaskedArray(FLOATS, np.arange(96).reshape(2, 4, 4, 3) % 2 == 0)
    with pytest.raises(ArgumentError, match="masked elements") as caught:
        GIVE[how](step_of(), masked, LABELS)
    assert "filled" in caught.value.hint
    GIVE[how](step_of(), masked.filled(0), LABELS)
