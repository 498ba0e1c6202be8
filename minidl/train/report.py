"""A run's page: its learning curves above the drawing of its memory."""

from __future__ import annotations

from minidl.files.atomic import write_text
from minidl.train.callbacks import Callback, Run
from minidl.train.curves import curves_section
from minidl.train.log import folder_of

HERE = "<!--CURVES-->"


class Report(Callback):
    """Writes `report.html` after every epoch: one file, no network, any browser."""

    def on_fit_begin(self, trainer: Run) -> None:
        self._page = trainer.step.plan.to_html(HERE)

    def on_epoch_end(self, trainer: Run) -> None:
        self._write(trainer)

    def on_fit_end(self, trainer: Run) -> None:
        trainer.history.stopped = trainer.stop
        self._write(trainer)

    def _write(self, trainer: Run) -> None:
        page = self._page.replace(HERE, curves_section(trainer.history))
        write_text(folder_of(trainer, self) / "report.html", page)
