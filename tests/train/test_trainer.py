"""Trainer: what it measures, how it stops, and that going on is never having stopped."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.ir import ArgumentError, Array, CheckpointError, NotFiniteError
from minidl.train import (
    Callback,
    Cosine,
    EarlyStopping,
    Ema,
    History,
    Plateau,
    Shuffled,
    Trainer,
    Warmup,
    checkpoint,
    latest,
)
from tests.train.small import BATCH, compiled, made_images, training, validation
from tests.training import state_bits

ROOT = Path(__file__).parents[2]
EPOCHS = 3
PER_EPOCH = len(training())


class At(Callback):
    """Do something once, after a step."""

    def __init__(self, steps: int, action: Callable[[], object]) -> None:
        self.steps, self.action = steps, action

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.steps == self.steps:
            self.action()


class StoppedError(Exception):
    pass


def stop() -> None:
    raise StoppedError


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def options(name: str) -> dict[str, Any]:
    """Everything that has a state; made anew for every trainer."""
    schedules = {"cosine": Warmup(Cosine(), epochs=1), "plateau": Plateau(gamma=0.5, patience=0)}
    early = EarlyStopping("top1", patience=9, restore_best=True)
    return {"schedule": schedules[name], "ema": Ema(0.9, every=2), "callbacks": [early]}


def trainer(step: dl.Step, name: str = "cosine", **how: Any) -> Trainer:
    more = how.pop("more", [])
    made = options(name)
    made["callbacks"] += more
    return Trainer(step, quiet=True, **made, **how)


def whole(name: str) -> tuple[dl.Step, Trainer]:
    """A run that never stopped."""
    step = compiled()
    run = trainer(step, name)
    run.fit(training(), validation(), EPOCHS)
    return step, run


def assert_same(a: tuple[dl.Step, Trainer], b: tuple[dl.Step, Trainer]) -> None:
    """Every variable, the averaged weights, the best ones, and all that was measured."""
    (step, run), (other, one) = a, b
    assert state_bits(step) == state_bits(other)
    assert run.history == one.history
    assert run.memory == one.memory
    assert run.ema is not None
    assert one.ema is not None
    for mine, theirs in zip(run.callbacks[:1], one.callbacks[:1], strict=True):
        assert mine.state() == theirs.state()
        assert_equal(mine.arrays(), theirs.arrays())
    assert_equal(run.ema.arrays, one.ema.arrays)


def assert_equal(a: dict[str, Array], b: dict[str, Array]) -> None:
    assert a.keys() == b.keys()
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)


# -- going on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, PER_EPOCH - 1, PER_EPOCH, PER_EPOCH + 3, 3 * PER_EPOCH - 1])
@pytest.mark.parametrize("name", ["cosine", "plateau"])
def test_resumed_at_any_step_is_never_stopped(name: str, steps: int, tmp_path: Path) -> None:
    first = trainer(
        compiled(), name, output_dir=tmp_path, checkpoint_every=1, more=[At(steps + 1, stop)]
    )
    with pytest.raises(StoppedError):
        first.fit(training(), validation(), EPOCHS)
    step = compiled(memory="naive", seed=9)
    second = trainer(step, name, output_dir=tmp_path, resume=tmp_path)
    assert second.steps == steps
    second.fit(training(), validation(), EPOCHS)
    assert_same((step, second), whole(name))


def test_resumed_in_fresh_processes(tmp_path: Path) -> None:
    """Ctrl-C after step 7, another mode, Ctrl-C after step 13, the first mode again."""
    code = (
        "import sys; from tests.train.test_trainer import *\n"
        "folder, steps, memory = sys.argv[1:]\n"
        "how = {'resume': folder} if latest(folder) else {}\n"
        "more = [At(int(steps), press_ctrl_c)]\n"
        "run = trainer(compiled(memory=memory), output_dir=folder, more=more, **how)\n"
        "try:\n"
        "    run.fit(training(), validation(), EPOCHS)\n"
        "except KeyboardInterrupt:\n"
        "    pass\n"
    )
    for steps, memory in (("7", "arena"), ("13", "naive"), ("0", "arena")):
        command = [sys.executable, "-c", code, str(tmp_path), steps, memory]
        subprocess.run(command, cwd=ROOT, check=True)
    step = compiled(seed=9)
    run = trainer(step, resume=tmp_path)
    assert run.epoch == EPOCHS
    run.fit(training(), validation(), EPOCHS)
    assert_same((step, run), whole("cosine"))


def test_a_second_fit_goes_on() -> None:
    step, run = compiled(), None
    run = Trainer(step, quiet=True)
    run.fit(training(), epochs=2)
    run.fit(training(), epochs=3)
    other = compiled()
    Trainer(other, quiet=True).fit(training(), epochs=3)
    assert state_bits(step) == state_bits(other)


def test_ctrl_c_saves_the_step_under_way(tmp_path: Path) -> None:
    first = trainer(compiled(), output_dir=tmp_path, more=[At(8, press_ctrl_c)])
    with pytest.raises(KeyboardInterrupt):
        first.fit(training(), validation(), EPOCHS)
    path = latest(tmp_path)
    assert path is not None
    assert checkpoint.steps_of(path) == 8
    step = compiled(seed=9)
    second = trainer(step, output_dir=tmp_path, resume=path)
    second.fit(training(), validation(), EPOCHS)
    assert_same((step, second), whole("cosine"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_inside_of_a_step_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = compiled()
    right = step._run

    def run() -> None:
        if step.steps == 4:
            press_ctrl_c()
        right()

    monkeypatch.setattr(step, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        trainer(step, output_dir=tmp_path).fit(training(), validation(), EPOCHS)
    resumed_step = compiled(seed=9)
    resumed = trainer(resumed_step, output_dir=tmp_path, resume=tmp_path)
    assert resumed.steps == 5
    resumed.fit(training(), validation(), EPOCHS)
    assert_same((resumed_step, resumed), whole("cosine"))


def test_a_second_ctrl_c_inside_of_a_step_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = compiled()

    def run() -> None:
        press_ctrl_c()
        press_ctrl_c()

    monkeypatch.setattr(step, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        trainer(step, output_dir=tmp_path).fit(training(), validation(), EPOCHS)
    assert latest(tmp_path) is None


def test_ctrl_c_while_it_validates(tmp_path: Path) -> None:
    class Pressed:
        def __init__(self) -> None:
            self.source = validation()

        def __len__(self) -> int:
            return len(self.source)

        def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, ...]]:
            for batch in self.source.epoch(epoch, start):
                press_ctrl_c()
                yield batch

    with pytest.raises(KeyboardInterrupt):
        trainer(compiled(), output_dir=tmp_path).fit(training(), Pressed(), EPOCHS)
    step = compiled(seed=9)
    resumed = trainer(step, output_dir=tmp_path, resume=tmp_path)
    assert (resumed.steps, resumed.epoch, resumed.batch) == (PER_EPOCH, 0, PER_EPOCH)
    resumed.fit(training(), validation(), EPOCHS)
    assert_same((step, resumed), whole("cosine"))


# -- what may not be -------------------------------------------------------------------------------


def test_a_folder_of_another_run(tmp_path: Path) -> None:
    run = Trainer(compiled(), quiet=True, output_dir=tmp_path / "a", checkpoint_every=2)
    run.fit(training(), epochs=1)
    with pytest.raises(ArgumentError, match=r"another run: resume it \(--resume\), or choose"):
        Trainer(compiled(), output_dir=tmp_path / "a")
    early = checkpoint.found(tmp_path / "a")[0]
    with pytest.raises(ArgumentError, match=r"later .*: remove .*00000006"):
        Trainer(compiled(), output_dir=tmp_path / "a", resume=early)
    Trainer(compiled(), quiet=True, output_dir=tmp_path / "b", resume=early).fit(
        training(), epochs=1
    )
    with pytest.raises(ArgumentError, match="is not one of them"):
        Trainer(compiled(), output_dir=tmp_path / "a", resume=tmp_path / "b")


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no good checkpoint in this folder"):
        Trainer(compiled(), resume=tmp_path)
    with pytest.raises(CheckpointError, match="No such file"):
        Trainer(compiled(), resume=tmp_path / "checkpoint-00000001.safetensors")


def test_other_data_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    first = trainer(compiled(), output_dir=tmp_path, more=[At(8, press_ctrl_c)])
    with pytest.raises(KeyboardInterrupt):
        first.fit(training(), validation(), EPOCHS)
    second = trainer(compiled(), output_dir=tmp_path, resume=tmp_path)
    with pytest.raises(ArgumentError, match=r"stopped at batch 2 of 6 .* has 7 batches"):
        second.fit(training(28), epochs=EPOCHS)


@pytest.mark.parametrize(
    "how",
    [{"checkpoint_every": 2}, {"print_freq": 0}, {"checkpoint_every": 0, "output_dir": "x"}],
)
def test_arguments_out_of_range(how: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Trainer(compiled(), **how)


def test_no_batches() -> None:
    with pytest.raises(ArgumentError, match="no batch"):
        Trainer(compiled(), quiet=True).fit(Shuffled(*made_images(3), BATCH))


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    batches = [(images.copy(), labels) for images, labels in training().epoch(0)]
    batches[3][0][0, 0, 0, 0] = np.nan
    step = compiled()
    with pytest.raises(NotFiniteError, match=r"^step 4: the loss is nan: .*--check-finite"):
        Trainer(step, quiet=True, output_dir=tmp_path, checkpoint_every=1).fit(batches)
    path = latest(tmp_path)
    assert path is not None
    assert checkpoint.steps_of(path) == 3


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
def test_check_finite_names_step_and_op() -> None:
    step = compiled(optimizer=dl.SGD(1e30), check_finite=True)
    with pytest.raises(NotFiniteError, match=r"^step \d+: op \d+ .* wrote (nan|-?inf) to"):
        Trainer(step, quiet=True).fit(training(), epochs=4)


# -- what is measured ------------------------------------------------------------------------------


def test_history_is_what_happened() -> None:
    step, other = compiled(), compiled()
    run = Trainer(step, quiet=True, schedule=Cosine())
    history = run.fit(training(), validation(), 2)
    assert isinstance(history, History)
    assert history["epoch"] == [1, 2]
    assert history["steps"] == [6, 12]
    images, labels = made_images(14, seed=6)
    for epoch in range(2):
        losses = []
        for batch in training().epoch(epoch):
            done = (6 * epoch + len(losses)) / 12
            other.learning_rate = 0.05 * (1 + math.cos(math.pi * done)) / 2
            losses.append(other(*batch))
        assert history["loss"][epoch] == pytest.approx(np.mean(losses))
        right = (other.predict(images).argmax(axis=1) == labels).mean()
        assert history["top1"][epoch] == right
    assert step.learning_rate == np.float32(0.05)
    assert run.evaluation is not None
    assert run.evaluation.count == 14
    with pytest.raises(ArgumentError, match="'accuracy': choose from epoch"):
        history["accuracy"]


def test_it_learns() -> None:
    step = compiled(hidden=32, optimizer=dl.SGD(0.02, 0.9))
    history = Trainer(step, quiet=True).fit(training(96), validation(60), 8)
    assert history.last.top1 is not None
    assert history.last.top1 > 0.8
    assert history.last.loss < history.epochs[0].loss


def test_without_validation() -> None:
    history = Trainer(compiled(), quiet=True, schedule=Plateau()).fit(training(), epochs=1)
    assert history.last.val_loss is history.last.top1 is None


def test_callbacks_are_called_in_order() -> None:
    calls: list[str] = []

    class Noted(Callback):
        def on_fit_begin(self, trainer: Trainer) -> None:
            calls.append(f"fit of {trainer.epochs}")

        def on_epoch_begin(self, trainer: Trainer) -> None:
            calls.append(f"epoch {trainer.epoch}")

        def on_step_end(self, trainer: Trainer) -> None:
            calls.append(f"{trainer.steps}")

        def on_epoch_end(self, trainer: Trainer) -> None:
            calls.append(f"done {trainer.epoch} {len(trainer.history)}")

        def on_fit_end(self, trainer: Trainer) -> None:
            calls.append("end")

    Trainer(compiled(), quiet=True, callbacks=[Noted()]).fit(training(8), epochs=2)
    expected = "fit of 2, epoch 0, 1, 2, done 1 1, epoch 1, 3, 4, done 2 2, end"
    assert calls == expected.split(", ")


# -- early stopping --------------------------------------------------------------------------------


def stopping(losses: list[float], **how: Any) -> tuple[EarlyStopping, Trainer, dl.Step]:
    """A run whose losses are given; the epoch is written into a bias."""

    class Written(Callback):
        def on_epoch_begin(self, trainer: Trainer) -> None:
            trainer.step.array("out.bias")[...] = trainer.epoch + 1

    step = compiled(optimizer=dl.SGD(0.0))
    early = EarlyStopping("loss", **how)
    run = Trainer(step, quiet=True, callbacks=[Written(), early])
    values = iter(losses)
    run._train_step = lambda *_: _set_loss(run, next(values))  # type: ignore[method-assign]
    run.fit(training(4), epochs=len(losses))
    return early, run, step


def _set_loss(run: Trainer, loss: float) -> tuple[None, None]:
    """In the place of the one step of an epoch: no batch follows, nothing failed."""
    run._loss_sum, run._loss_count = loss, 1
    return None, None


def test_early_stopping_after_patience() -> None:
    early, run, step = stopping([3, 2, 2, 2.5, 1, 1], patience=2)
    assert run.history["loss"] == [3, 2, 2, 2.5]
    assert run.history.stopped == "no better loss for 2 epochs: 2.0000 in epoch 2"
    assert early.best == 2
    assert (step.array("out.bias") == 4).all()


def test_early_stopping_restores_the_best() -> None:
    _, run, step = stopping([3, 1, 2, 2, 2], patience=3, restore_best=True)
    assert len(run.history) == 5
    assert (step.array("out.bias") == 2).all()


def test_too_little_is_no_improvement() -> None:
    _, run, _ = stopping([3, 2.9, 2.8, 2.7, 2.6], patience=2, min_delta=0.15)
    assert run.history["loss"] == [3, 2.9, 2.8, 2.7, 2.6]
    _, run, _ = stopping([3, 2.9, 2.8, 2.7, 2.6], patience=2, min_delta=0.5)
    assert run.history["loss"] == [3, 2.9, 2.8]


def test_nan_is_no_improvement() -> None:
    _, run, _ = stopping([math.nan, math.nan, 1], patience=2)
    assert run.history.stopped == "no better loss for 2 epochs"


def test_a_run_that_stopped_early_stays_so(tmp_path: Path) -> None:
    def run(step: dl.Step, **how: Any) -> Trainer:
        early = EarlyStopping("top1", patience=1, min_delta=1.0, restore_best=True)
        return Trainer(step, quiet=True, callbacks=[early], output_dir=tmp_path, **how)

    first = compiled()
    history = run(first).fit(training(), validation(), 9)
    assert len(history) == 2
    step = compiled(seed=9)
    again = run(step, resume=tmp_path).fit(training(), validation(), 9)
    assert again == history
    assert_equal(step.state_dict(), first.state_dict())


def test_early_stopping_needs_what_it_watches() -> None:
    with pytest.raises(ArgumentError, match="watches val_loss"):
        Trainer(compiled(), quiet=True, callbacks=[EarlyStopping()]).fit(training())
    with pytest.raises(ArgumentError, match="patience"):
        EarlyStopping(patience=0)


class Failing(Shuffled):
    """Fails on the way to a batch, as a broken image does."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, ...]]:
        for number, arrays in enumerate(super().epoch(epoch, start)):
            if start + number == 3:
                raise StoppedError
            yield arrays


def test_a_step_counts_whatever_becomes_of_the_next_batch() -> None:
    step, whole = compiled(), compiled()
    trainer = Trainer(step, quiet=True)
    with pytest.raises(StoppedError):
        trainer.fit(Failing(*made_images(24), BATCH))
    assert (trainer.batch, trainer.steps, step.steps) == (3, 3, 3)
    trainer.fit(training())
    Trainer(whole, quiet=True).fit(training())
    assert state_bits(step) == state_bits(whole)


def test_a_callback_may_use_the_step() -> None:
    step, alone = compiled(), compiled()
    other = next(training(seed=9).epoch(0))

    class Curious(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            trainer.step.predict(other[0])
            trainer.step.put(*other)

    Trainer(step, callbacks=[Curious()], quiet=True).fit(training(), epochs=2)
    Trainer(alone, quiet=True).fit(training(), epochs=2)
    assert state_bits(step) == state_bits(alone)
