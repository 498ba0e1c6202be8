"""However a run ends, what was trained is saved: errors, signals, and what handles them."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minidl.data import BrokenImageError, WorkerError
from minidl.ir import Array
from minidl.train import Callback, Terminated, Trainer, checkpoint, latest
from minidl.train.interrupt import Interrupt
from tests.train.small import compiled, training, validation
from tests.train.test_trainer import EPOCHS, At, assert_same, trainer, whole

ERRORS = [
    BrokenImageError("c0/a.jpg: cut short"),
    MemoryError(),
    OSError(errno.EIO, "Input/output error", "c0/a.jpg"),
    WorkerError("worker 0 died"),
    ZeroDivisionError(),
]


class Broken:
    """A loader whose batch number `at`, counted over all epochs, is an error."""

    def __init__(self, source: Any, at: int, error: BaseException) -> None:
        self.source, self.left, self.error = source, at, error

    def __len__(self) -> int:
        return len(self.source)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, ...]]:
        for batch in self.source.epoch(epoch, start):
            if not self.left:
                raise self.error
            self.left -= 1
            yield batch


def ended(folder: Path, train: Any, val: Any, error: type[BaseException]) -> BaseException:
    with pytest.raises(error) as caught:
        trainer(compiled(), output_dir=folder).fit(train, val, EPOCHS)
    return caught.value


def require_same_in_the_end(folder: Path, steps: int) -> None:
    step = compiled(seed=9)
    run = trainer(step, output_dir=folder, resume=folder)
    assert run.steps == steps
    run.fit(training(), validation(), EPOCHS)
    assert_same((step, run), whole("cosine"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("where", "at", "steps", "said"),
    [
        ("validation", 1, 6, "epoch 1 is saved"),
        ("validation", 4, 12, "epoch 2 is saved"),
        ("training", 9, 9, "step 9 is saved"),
        ("training", 12, 12, "epoch 2 is saved"),
        ("training", 1, 1, "step 1 is saved"),
    ],
)
def test_an_error_loses_no_step(
    error: BaseException, where: str, at: int, steps: int, said: str, tmp_path: Path
) -> None:
    error.__dict__.pop("__notes__", None)
    train, val = training(), validation(8)
    broken = Broken(train if where == "training" else val, at, error)
    raised = ended(
        tmp_path, *((broken, val) if where == "training" else (train, broken)), type(error)
    )
    path = latest(tmp_path)
    assert path is not None
    assert checkpoint.steps_of(path) == steps
    assert raised.__dict__["__notes__"] == [f"{said}: {path}"]


def test_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    for name, broken in (("val", (0, 1)), ("train", (9, 99))):
        train, val = (
            Broken(source, at, MemoryError())
            for source, at in zip((training(), validation()), broken, strict=True)
        )
        pair = (training(), val) if name == "val" else (train, validation())
        ended(tmp_path / name, *pair, MemoryError)
        require_same_in_the_end(tmp_path / name, 6 if name == "val" else 9)


def test_a_callback_that_fails_loses_no_epoch(tmp_path: Path) -> None:
    class Failing(Callback):
        def on_epoch_end(self, trainer: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", "curves.png")

    run = Trainer(compiled(), quiet=True, output_dir=tmp_path, callbacks=[Failing()])
    with pytest.raises(OSError, match=r"curves\.png"):
        run.fit(training(), validation(), EPOCHS)
    path = latest(tmp_path)
    assert path is not None
    state = checkpoint.read(path)[1]
    assert (state.steps, state.epoch, state.batch, state.history) == (6, 0, 6, [])


def test_nothing_is_written_before_a_step(tmp_path: Path) -> None:
    ended(tmp_path, Broken(training(), 0, MemoryError()), validation(), MemoryError)
    assert latest(tmp_path) is None


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_saves_the_step_under_way(name: str, tmp_path: Path) -> None:
    number = signal.Signals[name]
    before = signal.getsignal(number)
    more = [At(8, lambda: os.kill(os.getpid(), number))]
    with pytest.raises(Terminated) as caught:
        trainer(compiled(), output_dir=tmp_path, more=more).fit(training(), validation(), EPOCHS)
    assert (caught.value.code, caught.value.signal) == (128 + number, number)
    assert signal.getsignal(number) is before
    require_same_in_the_end(tmp_path, 8)


def test_several_signals_save_once_and_whole(tmp_path: Path) -> None:
    """A terminal that closes sends two; only a second Ctrl-C acts at once."""

    def send() -> None:
        for name in ("SIGHUP", "SIGTERM", "SIGHUP"):
            signal.raise_signal(signal.Signals[name])

    with pytest.raises(Terminated) as caught:
        trainer(compiled(), output_dir=tmp_path, more=[At(8, send)]).fit(
            training(), validation(), EPOCHS
        )
    assert caught.value.signal is signal.SIGHUP
    require_same_in_the_end(tmp_path, 8)


def test_a_worker_that_the_signal_reached_first(tmp_path: Path) -> None:
    """Its error is not what ends the run."""

    class Ended(Broken):
        def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Array, ...]]:
            for batch in self.source.epoch(epoch, start):
                if not self.left:
                    signal.raise_signal(signal.SIGTERM)
                    raise self.error
                self.left -= 1
                yield batch

    for train, val, steps in (
        (Ended(training(), 9, WorkerError("gone")), validation(), 9),
        (training(), Ended(validation(), 2, WorkerError("gone")), 6),
    ):
        folder = tmp_path / str(steps)
        ended(folder, train, val, Terminated)
        require_same_in_the_end(folder, steps)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["nohup", "own"])
def test_what_a_program_chose_stays(handler: Any) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with Interrupt() as interrupt:
            assert signal.getsignal(signal.SIGHUP) is handler
            signal.raise_signal(signal.SIGHUP)
            interrupt.check()
        assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)
