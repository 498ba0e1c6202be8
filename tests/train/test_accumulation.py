"""A trainer whose steps accumulate: resumed in the middle, averaged once an update."""

from __future__ import annotations

from pathlib import Path

import pytest

import minidl as dl
from minidl.train import Cosine, Ema, Trainer
from tests.train.small import compiled, training, validation
from tests.train.test_trainer import At, StoppedError, stop
from tests.training import state_bits

EPOCHS = 2
"""Of six batches each: twelve calls are no multiple of any of these."""
CALLS = 5


def step(**how: object) -> dl.Step:
    return compiled(optimizer=dl.Adam(0.01), accumulate=CALLS, clip_norm=0.5, **how)


def trainer(made: dl.Step, **how: object) -> Trainer:
    return Trainer(made, quiet=True, schedule=Cosine(), ema=Ema(0.9), **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("calls", [3, 5, 7])
def test_resumed_in_the_middle_of_an_accumulation(calls: int, tmp_path: Path) -> None:
    whole, going = step(), step()
    expected = trainer(whole)
    expected.fit(training(), validation(), EPOCHS)
    at = [At(calls + 1, stop)]
    first = trainer(going, output_dir=tmp_path, checkpoint_every=1, callbacks=at)
    with pytest.raises(StoppedError):
        first.fit(training(), validation(), EPOCHS)
    resumed = step(memory="naive", seed=9)
    second = trainer(resumed, output_dir=tmp_path, resume=tmp_path)
    assert (second.steps, resumed.held) == (calls, calls % CALLS)
    second.fit(training(), validation(), EPOCHS)
    assert state_bits(resumed) == state_bits(whole)
    assert second.history == expected.history
    assert second.ema is not None
    assert expected.ema is not None
    for name, array in expected.ema.arrays.items():
        assert second.ema.arrays[name].tobytes() == array.tobytes()


def test_averages_count_updates() -> None:
    made, seen = step(), []

    class Counting(Ema):
        def update(self, step: dl.Step) -> None:
            seen.append((step.steps, step.updates))

    run = Trainer(made, quiet=True, ema=Counting(0.9, every=2))
    run.fit(training(), None, EPOCHS)
    assert seen == [(10, 2)]
    assert (made.steps, made.updates, made.held) == (12, 2, 2)
