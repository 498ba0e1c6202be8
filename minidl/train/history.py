"""History: what came out of every epoch, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from minidl.files.fields import take
from minidl.ir import ArgumentError, Array
from minidl.ir.printed import columns, never_raises


@dataclass(frozen=True)
class Epoch:
    """One epoch. Accuracies are shares in [0, 1]; None is what was not measured."""

    epoch: int
    """Epochs done, this one included."""
    steps: int
    """Steps done since the run began."""
    loss: float
    """Mean over the epoch's steps."""
    learning_rate: float
    """Of the epoch's last step."""
    val_loss: float | None = None
    top1: float | None = None
    top5: float | None = None
    ema_loss: float | None = None
    ema_top1: float | None = None
    ema_top5: float | None = None
    """The same with averaged weights."""
    speed: float = field(default=0.0, compare=False)
    """Images a second, without the validation."""
    seconds: float = field(default=0.0, compare=False)
    """Since `fit` was called."""


FIELDS = tuple(f.name for f in fields(Epoch))
TOLD = tuple(name for name in FIELDS if name not in ("steps", "speed"))
"""What is printed of an epoch."""
LAST = 10
"""Epochs that are printed."""

OF_VALIDATION = ("val_loss", "top1", "top5")
OF_AVERAGES = ("ema_loss", "ema_top1", "ema_top5")
METRICS = ("loss", *OF_VALIDATION, *OF_AVERAGES)
"""Fields that say how good an epoch is."""

ACCURACY = "write 'top1' for accuracy"
"""Hint where a metric is none of them."""

LABELLED = ("top1", "top5", "ema_top1", "ema_top5")
"""Those that need labels; they are better where they are higher."""


@dataclass(repr=False)
class History:
    """All epochs of a run, those before it was resumed included."""

    epochs: list[Epoch] = field(default_factory=list)
    stopped: str = ""
    """Why the run ended early; empty where it did not."""

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, name: str) -> list[Any]:
        """One column: `history["val_loss"]`."""
        if name not in FIELDS:
            raise ArgumentError(f"an epoch has no {name!r}", f"choose from {', '.join(FIELDS)}")
        return [getattr(epoch, name) for epoch in self.epochs]

    @property
    def last(self) -> Epoch:
        return self.epochs[-1]

    @never_raises
    def __repr__(self) -> str:
        """A table of the last epochs, of what was measured."""
        if not self.epochs:
            return "History of no epochs"
        shown = [n for n in TOLD if any(getattr(e, n) is not None for e in self.epochs)]
        rows = [[_word(n, getattr(e, n)) for n in shown] for e in self.epochs[-LAST:]]
        stopped = f", stopped: {self.stopped}" if self.stopped else ""
        last = f", the last {LAST}" if len(self.epochs) > LAST else ""
        head = [n.replace("_", " ") for n in shown]
        said = f"History of {len(self.epochs):,} epochs{stopped}{last}"
        return f"{said}\n{columns(head, rows, range(len(head)))}"

    def rows(self) -> list[dict[str, Any]]:
        """The epochs as plain data, for JSON."""
        return [dict(vars(epoch)) for epoch in self.epochs]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> History:
        """What `rows` gave. ArgumentError where they are something else."""
        return cls(take(list[Epoch], [dict(row) for row in rows], "the history"))


MISSING = " missing"
"""Behind a column's name: where it has no value."""


def packed(rows: Sequence[Mapping[str, float | None]]) -> dict[str, Array]:
    """Rows of numbers as arrays, one a column, int64 or float64, which take little to write however
    many there are. Beside a column that some row has nothing in stands one of bool."""
    found: dict[str, Array] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        kinds = set(map(type, values))
        if type(None) in kinds:
            found[name + MISSING] = np.array([value is None for value in values])
            values = [0 if value is None else value for value in values]
        if kinds != {type(None)}:
            whole = kinds <= {int, type(None)}
            found[name] = np.array(values, np.int64 if whole else np.float64)
    return found


def unpacked(columns: Mapping[str, Array]) -> list[dict[str, Any]]:
    """What `packed` was given, without what is None. ArgumentError where it is something else."""
    shapes = {array.shape for array in columns.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise ArgumentError(f"no history: its columns have shapes {sorted(shapes)}")
    for name, array in columns.items():
        kinds = ("bool",) if name.endswith(MISSING) else ("int64", "float64")
        if array.dtype.name not in kinds:
            raise ArgumentError(f"no history: its {name} is {array.dtype.name}")
    rows: list[dict[str, Any]] = [{} for _ in range(next(iter(shapes), (0,))[0])]
    for name, array in columns.items():
        if not name.endswith(MISSING):
            missing = columns.get(name + MISSING, np.zeros(len(rows), bool)).tolist()
            for row, value, none in zip(rows, array.tolist(), missing, strict=True):
                if not none:
                    row[name] = value
    return rows


def _word(name: str, value: float | None) -> str:
    """Accuracies in percent, seconds whole."""
    if value is None:
        return "-"
    if "top" in name:
        return f"{value:.2%}"
    return f"{value:.0f}" if name == "seconds" else f"{value:.5g}"
