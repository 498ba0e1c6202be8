"""A run's page: its learning curves above the drawing of its memory."""

from __future__ import annotations

import time
from contextlib import suppress

from minidl.files.atomic import write_text
from minidl.train.callbacks import Callback, Run
from minidl.train.curves import curves_section
from minidl.train.log import folder_of

HERE = "<!--CURVES-->"
SHARE = 20
"""A page that was written once is written again when a twentieth more epochs are done, or when
twenty times as long has passed as that took: a page has all epochs, and writing it after each of
them would take the longer, the longer a run goes on."""


class Report(Callback):
    """Writes `report.html`, one file, no network, any browser: after each of the first epochs, then
    as often as takes a twentieth of the time at most, and at the end, whatever ends the run."""

    _shown = -1
    """Epochs on the page; -1: there is none of this run yet."""

    def on_fit_begin(self, trainer: Run) -> None:
        self._page = trainer.step.plan.to_html(HERE)
        self._due, self._ended, self._took = 0, 0.0, 0.0
        self._shown = -1

    def on_epoch_end(self, trainer: Run) -> None:
        late = time.perf_counter() - self._ended >= SHARE * self._took
        if late or len(trainer.history) >= self._due:
            self._write(trainer)

    def on_fit_end(self, trainer: Run) -> None:
        trainer.history.stopped = trainer.stop
        self._write(trainer)

    def on_exit(self, trainer: Run) -> None:
        """However it ended: the epochs that are done are on the page."""
        if 0 <= self._shown < len(trainer.history):
            with suppress(OSError):  # the run's own error is what is told
                self._write(trainer)

    def _write(self, trainer: Run) -> None:
        begun = time.perf_counter()
        page = self._page.replace(HERE, curves_section(trainer.history))
        write_text(folder_of(trainer, self) / "report.html", page)
        self._shown = len(trainer.history)
        self._ended = time.perf_counter()
        self._took = self._ended - begun
        self._due = len(trainer.history) + max(1, len(trainer.history) // SHARE)
