"""A run's page: its learning curves above the picture of its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minidl.files.atomic import write_text
from minidl.ir.report.page import plan_page
from minidl.train.callbacks import Callback
from minidl.train.curves import curves_section
from minidl.train.log import folder_of

if TYPE_CHECKING:
    from minidl.train.trainer import Trainer

HERE = "<!--CURVES-->"


class Report(Callback):
    """Writes `report.html` after every epoch: one file, no network, any browser."""

    def on_fit_begin(self, trainer: Trainer) -> None:
        self._page = plan_page(trainer.step.plan, HERE)

    def on_epoch_end(self, trainer: Trainer) -> None:
        self._write(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        trainer.history.stopped = trainer.stop
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        page = self._page.replace(HERE, curves_section(trainer.history))
        write_text(folder_of(trainer, self) / "report.html", page)
