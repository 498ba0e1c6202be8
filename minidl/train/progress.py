"""Progress on a screen: a bar where someone looks, plain lines everywhere."""

from __future__ import annotations

import sys
import time
import weakref
from contextlib import ExitStack
from typing import Any, NoReturn

from tqdm.auto import tqdm

from minidl import console
from minidl.console import ERRORS, growing, say, waiting
from minidl.ir.calls import called
from minidl.ir.readers import COUNT, optional
from minidl.train.callbacks import Callback, Run
from minidl.train.history import Epoch


def someone_looks() -> bool:
    """Whether standard error is a terminal, or the program a notebook."""
    return ERRORS.is_terminal() or "ipykernel" in sys.modules


def bar_file() -> Any:
    """Where a bar is drawn: standard error, which can break and end nothing; a notebook's own."""
    return None if "ipykernel" in sys.modules else ERRORS


LATER = 10.0
"""How much more patience people have within a run."""


@called(readers={"print_freq": optional(COUNT)})
class Progress(Callback):
    """A line an epoch; within an epoch a bar on a terminal and in a notebook. Elsewhere a line
    after the first step, and then every `print_freq` steps, or, where that is not given, after
    times that grow from 10 seconds to 10 minutes."""

    def __init__(self, *, print_freq: int | None = None) -> None:
        self.print_freq = print_freq
        self._bar: tqdm[NoReturn] | None = None
        self._open = ExitStack()
        """What is told of while nothing else is shown."""

    def __getstate__(self) -> dict[str, Any]:
        """A copy shows nothing yet."""
        return {**vars(self), "_bar": None, "_open": ExitStack()}

    def on_fit_begin(self, trainer: Run) -> None:
        self._close()
        self._begun, self._times, self._next = (
            time.monotonic(),
            growing(LATER * console.PATIENCE),
            0.0,
        )
        if trainer.epoch >= trainer.epochs > 0:
            done = f"finished: all {trainer.epochs} epochs are done"
            say(f"{done}; more epochs (--epochs) train longer")
        elif trainer.steps:
            say(f"resumed at epoch {trainer.epoch + 1}, step {trainer.steps:,}")

    def on_epoch_begin(self, trainer: Run) -> None:
        self._close()
        self._epoch_begun, self._first = time.monotonic(), trainer.batch
        batch = trainer.step.plan.batch
        self._bar = tqdm(
            total=trainer.steps_per_epoch * batch,
            initial=trainer.batch * batch,
            desc=f"epoch {trainer.epoch + 1}/{trainer.epochs}",
            unit=" images",
            leave=False,
            disable=not someone_looks(),
            file=bar_file(),
        )
        if self._bar.disable:
            self._open.enter_context(waiting("reading the first batch"))
        if bar_file() is ERRORS and not self._bar.disable:
            ERRORS.bar = weakref.ref(self._bar)

    def on_step_end(self, trainer: Run) -> None:
        self._open.close()
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix(loss=f"{trainer.loss:.4f}", refresh=False)
            self._bar.update(trainer.step.plan.batch)
        elif self._is_due(trainer):
            say(self._step_line(trainer))

    def _is_due(self, trainer: Run) -> bool:
        first, passed = not self._next, time.monotonic() - self._begun
        if not first and self.print_freq is not None:
            return trainer.batch % self.print_freq == 0
        if passed < self._next:
            return False
        self._next = next(at for at in self._times if at > passed)
        return True

    def _step_line(self, trainer: Run) -> str:
        done = trainer.batch - self._first
        passed = max(1e-9, time.monotonic() - self._epoch_begun)
        parts = [
            f"  epoch {trainer.epoch + 1}/{trainer.epochs}",
            f"step {trainer.batch}/{trainer.steps_per_epoch}",
            f"loss {trainer.loss:.4f}",
            f"learning rate {trainer.step.learning_rate:.3g}",
            f"{done * trainer.step.plan.batch / passed:,.0f} images/s" if done > 1 else "",
        ]
        return "  ".join(filter(None, parts))

    def on_validation_begin(self, trainer: Run) -> None:
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix_str("validating")
        else:
            self._open.enter_context(waiting("validating", LATER))

    def on_epoch_end(self, trainer: Run) -> None:
        self._close()
        say(epoch_line(trainer.history.last, trainer.epochs, trainer.measured))

    def on_fit_end(self, trainer: Run) -> None:
        self._close()
        if trainer.stop:
            say(f"stopped: {trainer.stop}")

    def on_exit(self, trainer: Run) -> None:
        self._close()

    def _close(self) -> None:
        self._open.close()
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def epoch_line(e: Epoch, epochs: int, measured: str) -> str:
    """An epoch in one line: what was measured of it, on the split `measured`."""
    parts = [
        f"epoch {e.epoch}/{epochs}",
        f"loss {e.loss:.4f}",
        f"{measured} accuracy {100 * e.top1:.2f} %" if e.top1 is not None else "",
        f"{measured} loss {e.val_loss:.4f}" if e.val_loss is not None and e.top1 is None else "",
        f"averaged weights {100 * e.ema_top1:.2f} %" if e.ema_top1 is not None else "",
        f"{e.speed:,.0f} images/s",
        f"{e.seconds:.0f} s",
    ]
    return "  ".join(filter(None, parts))
