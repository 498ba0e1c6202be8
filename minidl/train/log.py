"""A run's log on disk: its arguments, a row an epoch, a row every few steps."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minidl.ir import ArgumentError
from minidl.train.callbacks import Callback, Run
from minidl.train.history import FIELDS

STEP_FIELDS = ("steps", "epoch", "loss", "learning_rate")
"""Columns of `steps.csv`; the epoch is the one under way, from 1."""


def folder_of(trainer: Run, what: Callback) -> Path:
    """The run's folder, made if need be; ArgumentError where it has none."""
    if trainer.output_dir is None:
        raise ArgumentError(f"{type(what).__name__} needs an output_dir")
    trainer.output_dir.mkdir(parents=True, exist_ok=True)
    return trainer.output_dir


class Log(Callback):
    """Writes `args.json`, `log.csv` (a row an epoch, columns are the fields of `Epoch`),
    `steps.csv` (a row every `every` steps, where that is given) and at the end `confusion.csv`.

    A run that is resumed goes on in them; rows behind the checkpoint are left out, since these
    steps are done again.
    """

    def __init__(self, every: int | None = None) -> None:
        self.every = every

    def on_fit_begin(self, trainer: Run) -> None:
        folder = folder_of(trainer, self)
        plan = trainer.step.plan
        of_step = {**asdict(plan.subject), **asdict(plan.options)}
        asked = {"arguments": trainer.arguments, "step": of_step}
        text = json.dumps(asked, indent=1, default=str)
        (folder / "args.json").write_text(text + "\n", encoding="utf-8")
        write_rows(folder / "log.csv", FIELDS, trainer.history.rows())
        if self.every is not None:
            kept = rows_until(folder / "steps.csv", trainer.steps)
            write_rows(folder / "steps.csv", STEP_FIELDS, kept)

    def on_step_end(self, trainer: Run) -> None:
        if self.every is not None and trainer.steps % self.every == 0:
            rate = trainer.step.learning_rate
            row = dict(
                zip(
                    STEP_FIELDS,
                    (trainer.steps, trainer.epoch + 1, trainer.loss, rate),
                    strict=True,
                )
            )
            append_row(folder_of(trainer, self) / "steps.csv", STEP_FIELDS, row)

    def on_epoch_end(self, trainer: Run) -> None:
        append_row(folder_of(trainer, self) / "log.csv", FIELDS, asdict(trainer.history.last))

    def on_fit_end(self, trainer: Run) -> None:
        found = trainer.evaluation
        if found is not None and found.confusion is not None:
            with (folder_of(trainer, self) / "confusion.csv").open("w", newline="") as file:
                csv.writer(file).writerows(found.confusion.tolist())


Row = Mapping[str, Any]


def write_rows(path: Path, names: Iterable[str], rows: Iterable[Row]) -> None:
    """A CSV file with a header; None is an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(names))
        writer.writeheader()
        writer.writerows(rows)


def append_row(path: Path, names: Iterable[str], row: Row) -> None:
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, list(names)).writerow(row)


def rows_until(path: Path, steps: int) -> list[Row]:
    """The rows of a `steps.csv` up to a step; none where there is no such file. A last line that
    was cut off is left out."""
    if not steps or not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    whole = [r for r in rows if None not in r.values() and set(r) == set(STEP_FIELDS)]
    return [r for r in whole if r["steps"].isdigit() and int(r["steps"]) <= steps]
