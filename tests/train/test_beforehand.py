"""What cannot work is said before the first step, not after an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl.data import Arrays, Loader
from minidl.ir import ArgumentError, ShapeError
from minidl.train import Callback, EarlyStopping, Ema, InOrder, Repeated, Shuffled, Trainer
from minidl.train.callbacks import Run
from tests.train.small import compiled, made_images

IMAGES, LABELS = made_images(23)
BATCH = compiled().plan.batch


class Steps(Callback):
    """Counts them."""

    def __init__(self) -> None:
        self.done = 0

    def on_step_end(self, trainer: Run) -> None:
        self.done += 1


class LikePyTorch:
    """What a `torch.utils.data.DataLoader` says of itself, and gives."""

    def __init__(self, count: int, batch: int | None, drop_last: bool, sampled: bool = False):
        cuts = SimpleNamespace(batch_size=batch, drop_last=drop_last, sampler=range(count))
        self.batch_sampler = cuts if batch is not None else None
        self.batch_size, self.drop_last = (None, False) if sampled else (batch, drop_last)
        self.sampler = range(count)
        self.dataset = range(count)
        self._cut, self._drop = batch or 1, drop_last
        self._count = count

    def __len__(self) -> int:
        return self._count // self._cut if self._drop else -(-self._count // self._cut)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for i in range(len(self)):
            part = slice(i * self._cut, (i + 1) * self._cut)
            yield IMAGES[part], LABELS[part]


def cut(batch: int, count: int = 23) -> list[tuple[Any, Any]]:
    return list(InOrder(IMAGES[:count], LABELS[:count], batch).epoch(0))


REFUSED: dict[str, tuple[Any, str]] = {
    "a list, its last batch short": (cut(BATCH), "batch {n} of {n} has {rest} samples.*drop_last"),
    "a list of others": (cut(5, 20), f"batch 1 of 4 has 5 samples.*batches of {BATCH}"),
    "InOrder": (InOrder(IMAGES, LABELS, BATCH), "batch {n} of {n} has {rest} samples.*drop_last"),
    "PyTorch's": (LikePyTorch(23, BATCH, False), "batch {n} of {n} has {rest} samples.*drop_last"),
    "PyTorch's with a batch sampler": (LikePyTorch(23, BATCH, False, sampled=True), "batch {n} of"),
    "PyTorch's of others": (LikePyTorch(23, 5, True), "batch 1 of 4 has 5 samples"),
    "a Loader": (
        Loader(Arrays(IMAGES, LABELS), BATCH, seed=0, drop_last=False),
        "batch {n} of {n} has {rest} samples.*drop_last",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_batch_that_is_not_the_steps(name: str) -> None:
    loader, words = REFUSED[name]
    steps = Steps()
    words = words.replace("{n}", str(-(-23 // BATCH))).replace("{rest}", str(23 % BATCH))
    with pytest.raises(ShapeError, match=f"the training loader: {words}"):
        Trainer(compiled(), quiet=True, callbacks=[steps]).fit(loader, epochs=2)
    assert steps.done == 0


TAKEN: dict[str, Iterable[Any]] = {
    "a list": cut(BATCH)[:-1],
    "PyTorch's, short batches left out": LikePyTorch(23, BATCH, True),
    "as many as are asked for": Repeated(cut(BATCH), length=23 // BATCH),
    "Shuffled": Shuffled(IMAGES, LABELS, BATCH),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", TAKEN)
def test_batches_that_fit(name: str) -> None:
    steps = Steps()
    Trainer(compiled(), quiet=True, callbacks=[steps]).fit(TAKEN[name], epochs=1)
    assert steps.done == 23 // BATCH


IMAGE = IMAGES.shape[1:]
UNFIT: dict[str, tuple[Any, str]] = {
    "labels of other classes": ((IMAGES[:3], LABELS[:3] + 100), r"labels must be in \[0, "),
    "too few labels": ((IMAGES[:3], LABELS[:2]), r"targets must have shape \(3,\), got \(2,\)"),
    "other images": ((IMAGES[:3, :-1], LABELS[:3]), "input: the step was compiled for shape"),
    "one array": (IMAGES[:3], r"expected \(inputs..., targets\), got ndarray"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_validation_that_cannot_be(name: str) -> None:
    batch, words = UNFIT[name]
    steps = Steps()
    val = [cut(BATCH)[0], batch]
    with pytest.raises(
        (ShapeError, ArgumentError), match=f"the validation loader: batch 2: {words}"
    ):
        Trainer(compiled(), quiet=True, callbacks=[steps]).fit(TAKEN["a list"], val, epochs=2)
    assert steps.done == 0


WATCHED = {
    ("val_loss", False, False): r"choose from loss, or give what it needs: fit\(train, val\)",
    ("top1", False, False): "choose from loss, or give what it needs: labels",
    ("ema_loss", True, False): "choose from loss, val_loss, top1, top5, or .*ema=Ema",
    ("ema_top5", False, True): "choose from loss, or .*labels",
}


@pytest.mark.parametrize(("metric", "validates", "averages"), WATCHED)
def test_a_metric_that_nobody_measures(metric: str, validates: bool, averages: bool) -> None:
    steps = Steps()
    ema = Ema(0.9) if averages else None
    made = Trainer(compiled(), quiet=True, ema=ema, callbacks=[EarlyStopping(metric), steps])
    words = f"EarlyStopping watches {metric}, which this run does not measure: "
    with pytest.raises(ArgumentError, match=words + WATCHED[metric, validates, averages]):
        made.fit(TAKEN["a list"], cut(BATCH) if validates else None, epochs=2)
    assert steps.done == 0


def test_a_typo_is_said_at_once() -> None:
    with pytest.raises(ArgumentError, match=r"metric must be one of 'loss', 'val_loss'.*'val_los'"):
        EarlyStopping("val_los")


def test_squared_errors_have_no_accuracy() -> None:
    net = dl.Sequential(dl.Input(3), dl.Linear(2))
    step = dl.compile(net, 4, loss=dl.MSE())
    batch = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    made = Trainer(step, quiet=True, callbacks=[EarlyStopping("top1")])
    with pytest.raises(ArgumentError, match=r"watches top1.*choose from loss, val_loss"):
        made.fit([batch], [batch], epochs=2)


def test_averages_may_begin_later() -> None:
    """With an update every second epoch the first has none, and is passed over."""
    early = EarlyStopping("ema_loss", patience=5)
    ema = Ema(0.5, every=2 * (23 // BATCH))
    history = Trainer(compiled(), quiet=True, ema=ema, callbacks=[early]).fit(
        TAKEN["a list"], cut(BATCH), epochs=3
    )
    assert history["ema_loss"][0] is None
    assert early.best == min(v for v in history["ema_loss"] if v is not None)
