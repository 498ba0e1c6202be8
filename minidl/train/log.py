"""A run's log on disk: its arguments, a row an epoch, a row every few steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minidl.console import tell
from minidl.files.atomic import write_text
from minidl.files.tables import append_row, read_rows, write_table
from minidl.ir import ArgumentError
from minidl.ir.calls import called
from minidl.train.callbacks import EVERY, Callback, Run
from minidl.train.history import FIELDS
from minidl.train.metrics import no_confusion

STEP_FIELDS = ("steps", "epoch", "loss", "learning_rate")
STEP_KINDS = (int, int, float, float)
"""Columns of `steps.csv`, and their kinds; the epoch is the one under way, from 1."""


def folder_of(trainer: Run, what: Callback) -> Path:
    """The run's folder, made if need be; ArgumentError where it has none."""
    if trainer.output_dir is None:
        raise ArgumentError(f"{type(what).__name__} needs an output_dir")
    trainer.output_dir.mkdir(parents=True, exist_ok=True)
    return trainer.output_dir


@called("write Log(every=100): the folder is the trainer's output_dir", EVERY, filename="")
class Log(Callback):
    """Writes `args.json`, `log.csv` (a row an epoch, columns are the fields of `Epoch`),
    `steps.csv` (a row every `every` steps, where that is given) and `confusion.csv` of the last
    validation.

    A run that is resumed goes on in them; rows behind the checkpoint are left out, since these
    steps are done again.
    """

    def __init__(self, *, every: int | None = None) -> None:
        self.every = every

    def on_fit_begin(self, trainer: Run) -> None:
        folder = folder_of(trainer, self)
        plan = trainer.step.plan
        of_step = {**asdict(plan.subject), **asdict(plan.options)}
        asked = {"arguments": trainer.arguments, "step": of_step}
        text = json.dumps(asked, indent=1, default=str)
        write_text(folder / "args.json", text + "\n")
        write_rows(folder / "log.csv", FIELDS, trainer.history.rows())
        if self.every is not None:
            kept = rows_until(folder / "steps.csv", trainer.steps)
            write_rows(folder / "steps.csv", STEP_FIELDS, kept)

    def on_step_end(self, trainer: Run) -> None:
        if self.every is not None and trainer.steps % self.every == 0:
            rate = trainer.step.learning_rate
            row = trainer.steps, trainer.epoch + 1, trainer.loss, rate
            append_row(folder_of(trainer, self) / "steps.csv", row)

    def on_epoch_end(self, trainer: Run) -> None:
        self.write_confusion(trainer)
        row = [*vars(trainer.history.last).values()]
        append_row(folder_of(trainer, self) / "log.csv", row)

    def write_confusion(self, trainer: Run) -> None:
        """`confusion.csv` of the last validation: after every epoch, since a run that is resumed
        behind its last one validates no more."""
        found = trainer.evaluation
        if found is not None and found.confusion is not None:
            path = folder_of(trainer, self) / "confusion.csv"
            write_table(path, (row.tolist() for row in found.confusion))

    def on_fit_end(self, trainer: Run) -> None:
        found = trainer.evaluation
        if found is not None and found.top1 is not None and found.confusion is None:
            tell(f"minidl: {no_confusion(str(folder_of(trainer, self) / 'confusion.csv'))}")


Row = Mapping[str, Any]


def write_rows(path: Path, names: Iterable[str], rows: Iterable[Row]) -> None:
    """A CSV file with a header; None is an empty field."""
    names = tuple(names)
    write_table(path, [names, *([row[name] for name in names] for row in rows)])


def rows_until(path: Path, steps: int) -> list[Row]:
    """The rows of a `steps.csv` up to a step; none where there is no such file. What is damaged is
    left out, which a line says, but for a last row that was cut off."""
    if not steps or not path.exists():
        return []
    found = list(read_rows(path, STEP_KINDS))
    damaged = found[:-1].count([])
    if damaged:
        tell(f"minidl: {path}: {damaged:,} damaged rows are left out")
    return [dict(zip(STEP_FIELDS, r, strict=True)) for r in found if r and int(r[0]) <= steps]
