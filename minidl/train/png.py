"""Learning curves as a PNG, drawn by matplotlib: the extra `plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minidl.files.png import write_figure
from minidl.ir import ArgumentError
from minidl.train.callbacks import Callback, Run
from minidl.train.curves import CHARTS, COLOURS, NAMES, points
from minidl.train.history import History
from minidl.train.log import folder_of


class Png(Callback):
    """Writes `curves.png` after every epoch."""

    def on_fit_begin(self, trainer: Run) -> None:
        folder_of(trainer, self)
        _figure()

    def on_epoch_end(self, trainer: Run) -> None:
        write_png(trainer.history, folder_of(trainer, self) / "curves.png")


def write_png(history: History, path: str | Path) -> None:
    """Draw the charts side by side; ArgumentError where matplotlib is not installed."""
    figure = _figure()
    for axes, (title, names) in zip(figure.subplots(1, len(CHARTS)), CHARTS, strict=True):
        for name in names:
            line = points(history, name)
            if line:
                axes.plot(*zip(*line, strict=True), "o-", color=COLOURS[name], label=NAMES[name])
        axes.set_title(title)
        axes.set_xlabel("epoch")
        if axes.lines:
            axes.legend(fontsize="small")
    write_figure(path, figure)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ArgumentError(
            "a PNG is drawn by matplotlib", 'install "minidl[plot]", or open report.html'
        ) from None
    return Figure(figsize=(15, 4), dpi=120, layout="constrained")
