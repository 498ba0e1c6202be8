"""A real training on a GPU: VGG-16 with batch normalization on CIFAR-10, in bf16.

    python -m benchmarks.gpu cifar10 --data PATH --out DIR

PATH is what `minidl train --data-path` takes for CIFAR-10. First `arena` and `naive` train on the
same batches, and their losses must agree to the bit; then `arena` trains for as many epochs as
there is time for. Each epoch is a row, so that a run that is cut off has said what it reached.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import minidl as dl
from benchmarks.gpu.names import DEVICE
from benchmarks.gpu.rows import PASSED, Row
from benchmarks.gpu.tables import aligned, number, of_phase, whole
from benchmarks.gpu.worker import CaseLeftOutError, Phase, Worker
from minidl.data import Loader, Splits, decoded, evaluation, open_data, training
from minidl.train import Callback, OneCycle, Trainer

PHASES = (
    Phase("environment", "benchmarks.gpu.environment:environment", most=0.2),
    Phase("cifar10", f"{__name__}:cifar10", most=1.0, least=0.6, silence=120, needs=DEVICE),
)
MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
"""Of the training images, by channel, in [0, 255]."""
SIDE, RATE, PRECISION = 32, 0.1, "bf16"
RESERVE = 0.85
"""Share of the time left that epochs are planned for."""


class Run:
    """The cases: images, then equal bits, then the training."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.machine = worker, worker.machine
        self.loaders: tuple[Loader, Loader] | None = None
        self.step_seconds = 0.0

    def images(self) -> Row:
        """Decode all of them once, into memory."""
        if not self.worker.settings.data:
            raise CaseLeftOutError("no images: say where CIFAR-10 is with --data")
        splits: Splits = open_data(self.worker.settings.data)
        train, test = decoded(splits.train), decoded(splits.test)
        batch = self.machine.TRAINING.batch
        self.loaders = (
            Loader(train, batch, transform=training(SIDE), seed=0),
            Loader(test, batch, transform=evaluation(SIDE), seed=0, shuffle=False, drop_last=False),
        )
        return {"images": len(train), "test_images": len(test)}

    def same_bits(self) -> Row:
        """The first losses of `arena` are those of `naive`."""
        naive, _ = self._losses("naive")
        arena, self.step_seconds = self._losses("arena")
        row: Row = {"steps": len(arena), "loss": float.fromhex(arena[-1])}
        if arena != naive:
            first = next(i for i, (a, b) in enumerate(zip(arena, naive, strict=True)) if a != b)
            row["wrong"] = f"step {first}: arena's loss {arena[first]}, naive's {naive[first]}"
        return row | {"step_ms": 1e3 * self.step_seconds}

    def _losses(self, memory: str) -> tuple[list[str], float]:
        """As bits; and seconds of a step, those for its images included."""
        step, (train, _) = self._compiled(memory), self._loaders()
        batches = ((images.copy(), labels.copy()) for images, labels in train.epoch(0))
        found, begin = list[str](), 0.0
        for loss in step.feed(islice(batches, self.machine.COMPARED)):
            begin = begin or time.perf_counter()  # the first step is slow
            found.append(loss.hex())
        return found, (time.perf_counter() - begin) / max(1, len(found) - 1)

    def train(self) -> Row:
        train, test = self._loaders()
        steps = len(train) + len(test)
        left = RESERVE * (self.worker.stop - time.time())
        epoch = max(1e-3, steps * self.step_seconds)
        epochs = max(1, min(self.machine.MOST_EPOCHS, int(left / epoch)))
        step = self._compiled("arena")
        rows = Rows(self.worker, epochs)
        trainer = Trainer(step, schedule=OneCycle(), callbacks=[rows], quiet=True)
        history = trainer.fit(train, test, epochs)
        if not len(history):
            raise CaseLeftOutError("no time left for one epoch")
        row: Row = {"epochs": len(history), "planned": epochs, "top1": history.last.top1}
        row |= {"model": self.machine.TRAINING.model, "batch": self.machine.TRAINING.batch}
        return row | {"precision": PRECISION, "seconds": history.last.seconds}

    def _compiled(self, memory: str) -> dl.Step:
        return dl.compile(
            dl.from_bytes(self.machine.TRAINING.build(), MEAN, STD),
            self.machine.TRAINING.batch,
            optimizer=dl.SGD(RATE, 0.9, weight_decay=5e-4, nesterov=True),
            loss=dl.CrossEntropy(label_smoothing=0.1),
            device=self.worker.device,
            precision=PRECISION,
            memory=memory,
            prefetch=True,
        )

    def _loaders(self) -> tuple[Loader, Loader]:
        """Decoded again where a process before this one ended."""
        if self.loaders is None:
            self.images()
        if self.loaders is None:
            raise CaseLeftOutError("no images")
        return self.loaders


class Rows(Callback):
    """A row an epoch; no epoch is begun without time."""

    def __init__(self, worker: Worker, epochs: int) -> None:
        self.worker, self.epochs = worker, epochs

    def on_epoch_end(self, trainer: Trainer) -> None:
        last = trainer.history.last
        row: Row = {"case": f"epoch {last.epoch}", "result": PASSED, "s": last.seconds}
        row |= {"epoch": last.epoch, "planned": self.epochs, "loss": last.loss}
        row |= {"top1": last.top1, "images_per_s": last.speed}
        self.worker.note(row)
        if time.time() > self.worker.stop:
            trainer.stop = "no time left"


def cifar10(worker: Worker) -> None:
    run = Run(worker)
    cases: dict[str, Any] = {
        "images": (run.images, 300),
        "arena as naive": (run.same_bits, 120),
        "training": (run.train, 120),
    }
    for name in worker.mine(list(cases), str, counted=False):
        work, silence = cases[name]
        passed = worker.run(name, work, silence)
        if not worker.settings.data or (name == "images" and not passed):
            return  # nothing to train on


def table(rows: list[Row]) -> str:
    known = of_phase([row for row in rows if "case" in row], "cifar10")
    epochs = [row for row in known if "epoch" in row]
    lines = [
        (
            f"{row['epoch']} of {row['planned']}",
            *(number(row["loss"]), f"{100 * row['top1']:.2f} %", number(row["s"], 1)),
            number(row["images_per_s"], 0),
        )
        for row in epochs
    ]
    head = ("EPOCH", "loss", "test accuracy", "s", "images / s")
    same = [f"ARENA AS NAIVE {row['steps']} losses" for row in known if "step_ms" in row]
    return whole(rows, [*same, aligned([head, *lines]) if lines else ""])
