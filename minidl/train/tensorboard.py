"""TensorBoard's event files, written by tensorboardX: the extra `tensorboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minidl.ir import ArgumentError
from minidl.ir.calls import called
from minidl.train.callbacks import EVERY, Callback, Run
from minidl.train.log import folder_of

TAGS = {
    "loss": "loss/train",
    "val_loss": "loss/validation",
    "ema_loss": "loss/averaged",
    "top1": "accuracy/top1",
    "top5": "accuracy/top5",
    "ema_top1": "accuracy/averaged",
    "learning_rate": "learning_rate",
    "speed": "images_per_second",
}
"""Fields of `Epoch` and what TensorBoard calls them."""


@called("", EVERY, log_dir="folder", update_freq="every")
class TensorBoard(Callback):
    """Scalars of every epoch, and the loss every `every` steps where that is given, by step.

    folder: `tensorboard` in the run's own by default. A run that is resumed hides what was written
    behind the checkpoint.
    """

    def __init__(self, folder: str | Path | None = None, *, every: int | None = None) -> None:
        self.folder, self.every = folder, every
        self._writer: Any = None

    def on_fit_begin(self, trainer: Run) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ArgumentError(
                "TensorBoard's files are written by tensorboardX", 'install "minidl[tensorboard]"'
            ) from None
        folder = self.folder or folder_of(trainer, self) / "tensorboard"
        purge = trainer.steps + 1 if trainer.steps else None
        suffix = f".{trainer.steps}"  # the name has seconds only, and a file is overwritten
        self._writer = SummaryWriter(str(folder), purge_step=purge, filename_suffix=suffix)

    def on_step_end(self, trainer: Run) -> None:
        if self.every is not None and trainer.steps % self.every == 0:
            self._writer.add_scalar("loss/step", trainer.loss, trainer.steps)

    def on_epoch_end(self, trainer: Run) -> None:
        for name, tag in TAGS.items():
            value = getattr(trainer.history.last, name)
            if value is not None:
                self._writer.add_scalar(tag, value, trainer.steps)
        self._writer.flush()

    def on_fit_end(self, trainer: Run) -> None:
        self._writer.close()
