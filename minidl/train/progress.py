"""Progress on a screen: a bar where someone looks, plain lines everywhere."""

from __future__ import annotations

import sys
import weakref
from typing import Any, NoReturn

from tqdm.auto import tqdm

from minidl.console import ERRORS, say
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


@called(readers={"print_freq": optional(COUNT)})
class Progress(Callback):
    """A line an epoch; within an epoch a bar on a terminal and in a notebook, and elsewhere a line
    every `print_freq` steps where that is given."""

    def __init__(self, *, print_freq: int | None = None) -> None:
        self.print_freq = print_freq
        self._bar: tqdm[NoReturn] | None = None

    def on_fit_begin(self, trainer: Run) -> None:
        if trainer.steps:
            say(f"resumed at epoch {trainer.epoch + 1}, step {trainer.steps:,}")

    def on_epoch_begin(self, trainer: Run) -> None:
        self._close()
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
        if bar_file() is ERRORS and not self._bar.disable:
            ERRORS.bar = weakref.ref(self._bar)

    def on_step_end(self, trainer: Run) -> None:
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix(loss=f"{trainer.loss:.4f}", refresh=False)
            self._bar.update(trainer.step.plan.batch)
        elif self.print_freq is not None and trainer.batch % self.print_freq == 0:
            place = f"step {trainer.batch}/{trainer.steps_per_epoch}"
            rate = f"learning rate {trainer.step.learning_rate:.3g}"
            say(f"  {place}  loss {trainer.loss:.4f}  {rate}")

    def on_epoch_end(self, trainer: Run) -> None:
        self._close()
        say(epoch_line(trainer.history.last, trainer.epochs, trainer.measured))

    def on_fit_end(self, trainer: Run) -> None:
        self._close()
        if trainer.stop:
            say(f"stopped: {trainer.stop}")

    def _close(self) -> None:
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
