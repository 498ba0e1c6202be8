"""Ema: the average by hand, and weights that come back to the bit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from minidl.ir import ArgumentError
from minidl.train import Callback, Ema, Trainer, measure
from tests.train.small import BATCH, compiled, made_images, training, validation
from tests.training import state_bits


def test_the_average_is_that_of_its_formula() -> None:
    step, ema = compiled(), Ema(0.75)
    means: dict[str, np.ndarray] = {}
    for batch in training().epoch(0):
        step(*batch)
        ema.update(step)
        for name, now in step.state_dict().items():
            wide = now.astype(np.float64)
            means[name] = 0.75 * means[name] + 0.25 * wide if name in means else wide
    assert ema.arrays.keys() == step.state_dict().keys()
    for name, array in ema.arrays.items():
        assert array.dtype == step.state_dict()[name].dtype
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, means[name], rtol=1e-5, atol=1e-7)
    assert ema.arrays["norm.num_batches_tracked"] == 6


def test_swapped_weights_come_back_to_the_bit() -> None:
    step, ema = compiled(), Ema(0.5)
    for batch in training().epoch(0):
        step(*batch)
        ema.update(step)
    before, images = state_bits(step), made_images(5)[0]
    own = step.predict(images)
    with ema.swapped(step):
        assert step.predict(images).tobytes() != own.tobytes()
        np.testing.assert_array_equal(step.state_dict()["out.weight"], ema.arrays["out.weight"])
    assert state_bits(step) == before
    with pytest.raises(ZeroDivisionError), ema.swapped(step):
        raise ZeroDivisionError
    assert state_bits(step) == before


def test_before_the_first_update_nothing_is_swapped() -> None:
    step = compiled()
    before = state_bits(step)
    with Ema().swapped(step):
        assert state_bits(step) == before


def test_a_trainer_averages_every_n_steps_and_validates() -> None:
    step, ema = compiled(), Ema(0.5, every=4)
    history = Trainer(step, quiet=True, ema=ema).fit(training(), validation(), 2)
    with ema.swapped(step):
        found = measure(step, validation().epoch(0))
    assert (history.last.ema_loss, history.last.ema_top1) == (found.loss, found.top1)
    assert ema.arrays["norm.num_batches_tracked"] == 12
    other = compiled()
    Trainer(other, quiet=True).fit(training(), validation(), 2)
    assert state_bits(step) == state_bits(other)


@pytest.mark.parametrize("how", [{"decay": 1.0}, {"decay": -0.1}, {"every": 0}])
def test_values_out_of_range(how: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match="Ema: "):
        Ema(**how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batch", "epochs", "every", "decay"),
    [(32, 32, 1, 0.99998), (64, 32, 1, 0.99996), (32, 64, 8, 0.99992), (1024, 1, 1024, 0.0)],
)
def test_the_decay_of_a_run_is_torchvisions(
    batch: int, epochs: int, every: int, decay: float
) -> None:
    """references/classification/train.py: alpha = min(1, (1 - decay) batch every / epochs)."""
    made = Ema.for_run(batch=batch, epochs=epochs, every=every)
    assert made.decay == pytest.approx(decay, abs=1e-12)
    assert made.every == every
    with pytest.raises(ArgumentError, match="decay"):
        Ema.for_run(batch=batch, epochs=epochs, decay=1.0)


# -- runs that are too short -----------------------------------------------------------------------


class Stopped(Callback):
    """Ends a run after an epoch."""

    def on_epoch_end(self, trainer: Any) -> None:
        trainer.stop = "enough"


SHORT: dict[str, tuple[Ema, int, dict[str, Any], str]] = {
    "the usual decay": (
        Ema(),
        3,
        {},
        "one in 1 of 18 updates, 18 in all: at decay=0.9999 it is still 99.8% the first weights",
    ),
    "fewer than every": (Ema(0.9, every=32), 3, {}, "one in 32 of 18 updates, 0 in all.*there is"),
    "once": (
        Ema(0.5, every=18),
        3,
        {},
        "one in 18 of 18 updates, 1 in all: at decay=0.5 it is still 100.0%",
    ),
    "as torchvision adjusts it": (
        Ema.for_run(batch=BATCH, epochs=3, every=2),
        3,
        {},
        r"one in 2 of 18 updates, 9 in all: at decay=0.9999\d+ it is still 100.0%",
    ),
    "stopped": (Ema(0.7), 3, {"callbacks": [Stopped()]}, "one in 1 of 6 updates.*still 16.8%"),
    "accumulated": (Ema(0.7), 3, {"accumulate": 3}, "one in 1 of 6 updates.*still 16.8%"),
    "long enough": (Ema(0.7), 3, {}, ""),
    "without an average": (Ema(0.0), 3, {}, ""),
}
"""An average, epochs of six steps, how they are run, and what is said."""


@pytest.mark.parametrize("name", SHORT)
def test_a_run_too_short_for_its_average_is_said(name: str) -> None:
    ema, epochs, how, said = SHORT[name]
    made = compiled(accumulate=how.get("accumulate", 1))
    trainer = Trainer(made, quiet=True, ema=ema, callbacks=how.get("callbacks", ()))
    if not said:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            trainer.fit(training(), epochs=epochs)
        return
    with pytest.warns(UserWarning, match=f"^Ema: the average moves with {said}") as caught:
        trainer.fit(training(), epochs=epochs)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert caught[0].filename == __file__
