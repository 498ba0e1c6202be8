"""The best checkpoint of a run: by which metric, kept while it trains, found again."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from minidl.console import tell
from minidl.files.fields import take
from minidl.ir import ArgumentError, CheckpointError
from minidl.train import checkpoint
from minidl.train.callbacks import Callback, Run, gain, require_measured
from minidl.train.checkpoint import BEST, Checkpoint, State

METRICS = ("top1", "top5", "val_loss", "ema_top1", "ema_top5", "ema_loss")
"""Fields of `Epoch` that the best can be chosen by."""

USUAL = ("ema_top1", "ema_loss", "top1", "val_loss")
"""Where none is asked for: the first of them that is measured."""

WORDS = {
    "top1": "accuracy",
    "top5": "top-5 accuracy",
    "val_loss": "loss",
    "ema_top1": "accuracy of the averaged weights",
    "ema_top5": "top-5 accuracy of the averaged weights",
    "ema_loss": "loss of the averaged weights",
}


@dataclass(frozen=True)
class Best:
    """The best epoch of a run so far."""

    metric: str
    """One of METRICS."""
    value: float
    epoch: int
    """From 1."""
    measured: str
    """What the split is called."""

    @property
    def averaged(self) -> bool:
        """Whether it is the averaged weights that are the best."""
        return self.metric.startswith("ema_")

    def __str__(self) -> str:
        shown = f"{self.value:.4f}" if "loss" in self.metric else f"{100 * self.value:.2f} %"
        return f"the best by {self.measured} {WORDS.get(self.metric, self.metric)} {shown}"


class KeepBest(Callback):
    """Writes `checkpoint-best.safetensors` after each epoch that is better than all before it.

    metric: one of METRICS; None: accuracy, or the loss where there is none, of the averaged weights
    where these are validated. Of equal epochs the first stays. A run without a validation has no
    best. A run that is resumed goes on with the best so far.
    """

    def __init__(self, metric: str | None = None) -> None:
        self.metric = metric
        self.best: Best | None = None

    def on_fit_begin(self, trainer: Run) -> None:
        if self.metric is not None:
            require_measured(trainer, self.metric, "keep_best")
        if self.best is not None and self.metric in (None, self.best.metric):
            self.best = self._found(self.best, trainer)
        else:
            self.best = None  # by another metric nobody knows

    def on_epoch_end(self, trainer: Run) -> None:
        metric, value = self._measured(trainer)
        before = self.best
        if value is None or math.isnan(value):
            return
        if before and before.metric == metric and not gain(metric, value, before.value) > 0:
            return
        self.best = Best(metric, value, trainer.epoch, trainer.measured)
        try:
            trainer.save_best()
        except CheckpointError:
            self.best = before
            raise

    def _measured(self, trainer: Run) -> tuple[str, float | None]:
        last = asdict(trainer.history.last)
        metric = self.metric or next((m for m in USUAL if last[m] is not None), USUAL[-1])
        return metric, last[metric]

    def _found(self, best: Best, trainer: Run) -> Best | None:
        """What is still true of the best: its file is looked for, brought or written again."""
        folder = trainer.output_dir
        if folder is None:
            return None
        epoch, why = _epoch_of(folder / BEST)
        before = trainer.resumed.parent if trainer.resumed is not None else folder
        if epoch is None and before.resolve() != folder.resolve():
            epoch, why = _epoch_of(before / BEST)
            if epoch == best.epoch:
                checkpoint.copy(before / BEST, folder / BEST)
        if epoch == best.epoch:
            return best
        if epoch is not None and epoch > trainer.epoch:
            return None  # of an epoch that is done again, and then written again
        if trainer.epoch == best.epoch and not trainer.batch:
            trainer.save_best()
            return best
        tell(
            f"minidl: the checkpoint of epoch {best.epoch}, {best}, is lost"
            f"{f' ({why})' if why else ''}: from here on the best is kept anew"
        )
        return None

    def state(self) -> dict[str, Any]:
        return {} if self.best is None else asdict(self.best)

    def load(self, state: Any, arrays: Any) -> None:
        self.best = take(Best, dict(state), "the best epoch")


def best_in(state: State) -> Best | None:
    """What the state of a checkpoint says of the best epoch; None where it says nothing of use."""
    try:
        said = dict(state.callbacks.get(KeepBest.__name__, {}))
        found: Best = take(Best, said, "the best epoch")
    except ArgumentError:
        return None
    return found


Which = Literal["best", "last"]
"""Of a run's checkpoints."""


def chosen(where: Path, which: Which | None = None) -> tuple[Checkpoint, str]:
    """A checkpoint, or one of a run's folder, read once, and which that is, in words.

    which: the best or the last one; None: the best where one was kept, is good, and was kept until
    the run's end, else the last. CheckpointError where it is not there or damaged.
    """
    if which not in (None, *get_args(Which)):
        raise ArgumentError(f"checkpoint must be 'best' or 'last', got {which!r}")
    if not where.is_dir() or which == "last":
        found = checkpoint.opened(where)
        return found, _words(found)
    if which == "best":
        return _best(where)
    why = "no best is kept"
    if (where / BEST).exists():
        try:
            found, words = _best(where)
        except CheckpointError as error:
            tell(f"minidl: {error.message}; taking the last one")
            why = "the best is damaged"
        else:
            if _is_current(found, _last(where)):
                return found, words
            why = "the best was not kept until then"
    found = checkpoint.opened(where)
    return found, f"{_words(found)}, the last one: {why}"


def _best(folder: Path) -> tuple[Checkpoint, str]:
    try:
        found = checkpoint.opened(folder / BEST)
    except CheckpointError as error:
        raise error.hinting(error.hint or NO_BEST) from None
    last = _last(folder)
    return found, _words(found, None if last is None else last.epoch)


def _is_current(found: Checkpoint, last: State | None) -> bool:
    """Whether the best is still that by the last checkpoint, where this is not from before it."""
    if last is None or last.epoch < found.state.epoch:
        return True
    return best_in(last) == best_in(found.state)


NO_BEST = 'take the last one (checkpoint="last")'
"""Hint where the best one is not there."""


def averaged_in(found: Checkpoint) -> bool:
    """Whether a checkpoint was kept for the sake of its averaged weights."""
    best = best_in(found.state)
    return found.path.name == BEST and best is not None and best.averaged


def _words(found: Checkpoint, epochs: int | None = None) -> str:
    """`epoch 7 of 10, the best by val accuracy 95.30 %`."""
    state, best = found.state, best_in(found.state)
    words = f"epoch {state.epoch}" if not state.batch else f"step {state.steps:,}"
    words += f" of {epochs}" if epochs is not None and epochs >= state.epoch else ""
    return f"{words}, {best}" if best is not None and found.path.name == BEST else words


def _last(folder: Path) -> State | None:
    """The state of a run's last checkpoint, of which only the header is looked at."""
    for path in reversed(checkpoint.found(folder)):
        with suppress(CheckpointError):
            return checkpoint.glance(path)
    return None


def _epoch_of(path: Path) -> tuple[int | None, str]:
    """The epochs that a checkpoint has done, None where there is no good one, and why."""
    if not path.exists():
        return None, ""
    try:
        return checkpoint.verify(path).epoch, ""
    except CheckpointError as error:
        return None, str(error)
