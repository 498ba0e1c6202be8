"""History: what came out of every epoch, as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from minidl.files.fields import take
from minidl.ir import ArgumentError


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

OF_VALIDATION = ("val_loss", "top1", "top5")
OF_AVERAGES = ("ema_loss", "ema_top1", "ema_top5")
METRICS = ("loss", *OF_VALIDATION, *OF_AVERAGES)
"""Fields that say how good an epoch is."""

LABELLED = ("top1", "top5", "ema_top1", "ema_top5")
"""Those that need labels; they are better where they are higher."""


@dataclass
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

    def rows(self) -> list[dict[str, Any]]:
        """The epochs as plain data, for JSON."""
        return [asdict(epoch) for epoch in self.epochs]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> History:
        """What `rows` gave. ArgumentError where they are something else."""
        return cls(take(list[Epoch], [dict(row) for row in rows], "the history"))
