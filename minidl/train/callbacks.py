"""Callbacks: what happens between steps and epochs, one class a concern."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from minidl.files.fields import take
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.printed import fields_of, never_raises
from minidl.ir.readers import COUNT, choice, optional, real
from minidl.runtime.step import Step
from minidl.train.history import ACCURACY, LABELLED, METRICS, OF_AVERAGES, OF_VALIDATION, History
from minidl.train.metrics import Evaluation


class Run(Protocol):
    """What a callback may see of a run, which `Trainer` is, and what it may do to it."""

    step: Step
    history: History
    evaluation: Evaluation | None
    """Of the last validation."""
    measured: str
    """What the split is called that validation is on."""
    output_dir: Path | None
    arguments: dict[str, Any]
    """How the run was asked for."""
    epochs: int
    epoch: int
    """Epochs done."""
    batch: int
    """Steps done of the epoch."""
    steps: int
    """Steps done of the run."""
    steps_per_epoch: int
    loss: float
    """Of the last step."""
    measured_fields: frozenset[str]
    """What an epoch of this run has, of `minidl.train.history.METRICS`."""
    stop: str
    """A reason ends the run after the epoch."""

    resumed: Path | None
    """The checkpoint that the run went on from."""

    def save(self) -> Path:
        """Write a checkpoint of this moment."""

    def save_best(self) -> Path:
        """Write the one that stays, of this moment, in the place of the one before it."""


class Callback:
    """Override what you need; each call gets the trainer.

    `state` and `arrays` travel in checkpoints under the class's name, and `load` takes them back.
    """

    @never_raises
    def __repr__(self) -> str:
        return f"{type(self).__name__}({fields_of(self)})"

    def on_fit_begin(self, trainer: Run) -> None:
        """Before the first step; a resumed run stands where it stopped."""

    def on_epoch_begin(self, trainer: Run) -> None:
        """Before the first step of `trainer.epoch`, or of what is left of it."""

    def on_step_end(self, trainer: Run) -> None:
        """After each step: `trainer.loss`, `trainer.steps`."""

    def on_validation_begin(self, trainer: Run) -> None:
        """After the last step of an epoch, where there is something to validate on."""

    def on_epoch_end(self, trainer: Run) -> None:
        """After the validation: `trainer.history.last`; `trainer.epoch` epochs are done. Setting
        `trainer.stop` to a reason ends the run."""

    def on_fit_end(self, trainer: Run) -> None:
        """After the last epoch, not where an error or Ctrl-C ended the run."""

    def on_exit(self, trainer: Run) -> None:
        """At the very end, whatever ended the run: what was opened is closed."""

    def state(self) -> dict[str, Any]:
        """What to keep, as JSON has it."""
        return {}

    def arrays(self) -> dict[str, Array]:
        """Arrays to keep."""
        return {}

    def load(self, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Take back what `state` and `arrays` gave."""


def require_measured(trainer: Run, metric: str, who: str) -> None:
    """ArgumentError, before the first step, where a run does not measure what a callback asks."""
    if metric not in trainer.measured_fields:
        able = [name for name in METRICS if name in trainer.measured_fields]
        raise ArgumentError(
            f"{who} watches {metric}, which this run does not measure",
            f"choose from {', '.join(able)}, or give what it needs: {NEEDS[metric]}",
        )


NEEDS = {
    **dict.fromkeys(OF_VALIDATION, "fit(train, val)"),
    **dict.fromkeys(OF_AVERAGES, "Trainer(step, ema=Ema(...)) and fit(train, val)"),
} | {
    name: f"labels to validate on{' and ema=Ema(...)' * name.startswith('e')}" for name in LABELLED
}
"""What a metric takes that a run does not measure."""


def gain(metric: str, value: float, before: float) -> float:
    """By how much a value of a field of `Epoch` is better than one before it; NaN is not."""
    return value - before if metric in LABELLED else before - value


@dataclass(frozen=True)
class _Kept:
    """What a checkpoint has of early stopping."""

    best: float | None
    best_epoch: int
    bad: int


@called(
    "write EarlyStopping('val_loss', patience=5)",
    {"metric": replace(choice(METRICS), hint=ACCURACY), "patience": COUNT, "min_delta": real(0)},
    monitor="metric",
    restore_best_weights="restore_best",
)
class EarlyStopping(Callback):
    """Stop once `metric` has not improved by more than `min_delta` for `patience` epochs.

    metric: a loss or an accuracy of `Epoch` (`minidl.train.history.METRICS`); a larger accuracy and
    a smaller loss are better; one that the run does not measure is refused before its first step.
    restore_best: at the end the step gets the weights of the best epoch; a copy of them is held on
    the host.
    """

    def __init__(
        self,
        metric: str = "val_loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = False,
    ) -> None:
        self.metric, self.patience, self.min_delta = metric, patience, min_delta
        self.restore_best = restore_best
        self.best: float | None = None
        self.best_epoch = self.bad = 0
        self._weights: dict[str, Array] = {}

    def on_fit_begin(self, trainer: Run) -> None:
        require_measured(trainer, self.metric, "EarlyStopping")
        self._judge(trainer)

    def on_epoch_end(self, trainer: Run) -> None:
        value = trainer.history[self.metric][-1]
        if value is None:  # nothing is averaged yet
            return
        if self._better(value):
            self.best, self.best_epoch, self.bad = value, trainer.epoch, 0
            if self.restore_best:
                self._weights = trainer.step.state_dict()
        else:
            self.bad += 1
        self._judge(trainer)

    def _better(self, value: float) -> bool:
        if self.best is None:
            return not math.isnan(value)
        return gain(self.metric, value, self.best) > self.min_delta

    def _judge(self, trainer: Run) -> None:
        if self.bad >= self.patience:
            best = "" if self.best is None else f": {self.best:.4f} in epoch {self.best_epoch}"
            trainer.stop = f"no better {self.metric} for {self.bad} epochs{best}"

    def on_fit_end(self, trainer: Run) -> None:
        if self._weights:
            trainer.step.load_state_dict(self._weights)

    def state(self) -> dict[str, Any]:
        return asdict(_Kept(self.best, self.best_epoch, self.bad))

    def arrays(self) -> dict[str, Array]:
        return self._weights

    def load(self, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        kept: _Kept = take(_Kept, dict(state), "early stopping")
        self.best, self.best_epoch, self.bad = kept.best, kept.best_epoch, kept.bad
        self._weights = dict(arrays)


EVERY = {"every": optional(COUNT)}


@called("write Checkpoints(every=500): the folder is the trainer's output_dir", EVERY, filepath="")
class Checkpoints(Callback):
    """Save at the end of every epoch, and every `every` steps where that is given."""

    def __init__(self, *, every: int | None = None) -> None:
        self.every = every

    def on_step_end(self, trainer: Run) -> None:
        if self.every is not None and trainer.steps % self.every == 0:
            trainer.save()

    def on_epoch_end(self, trainer: Run) -> None:
        trainer.save()
