"""Training: schedules, metrics, logs, checkpoints, and the loop that ties them together."""

from __future__ import annotations

from minidl.data import Dataset
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.readers import SEED, optional, whole
from minidl.runtime.step import Step
from minidl.train.callbacks import Callback, Checkpoints, EarlyStopping
from minidl.train.checkpoint import Checkpoint, State, latest, load, opened, save
from minidl.train.ema import Ema
from minidl.train.history import Epoch, History
from minidl.train.interrupt import Terminated
from minidl.train.loaders import Feed, InOrder, Repeated, Shuffled, as_loader
from minidl.train.log import Log
from minidl.train.metrics import Evaluation, Metrics, measure
from minidl.train.png import Png
from minidl.train.progress import Progress
from minidl.train.report import Report
from minidl.train.schedules import (
    SCHEDULE,
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Plateau,
    Position,
    Schedule,
    StepDecay,
    Warmup,
)
from minidl.train.tensorboard import TensorBoard
from minidl.train.trainer import Trainer

__all__ = [
    "SCHEDULES",
    "Callback",
    "Checkpoint",
    "Checkpoints",
    "Constant",
    "Cosine",
    "EarlyStopping",
    "Ema",
    "Epoch",
    "Evaluation",
    "Exponential",
    "Feed",
    "History",
    "InOrder",
    "Log",
    "Metrics",
    "MultiStep",
    "OneCycle",
    "Plateau",
    "Png",
    "Position",
    "Progress",
    "Repeated",
    "Report",
    "Schedule",
    "Shuffled",
    "State",
    "StepDecay",
    "TensorBoard",
    "Terminated",
    "Trainer",
    "Warmup",
    "as_loader",
    "evaluate",
    "fit",
    "latest",
    "load",
    "measure",
    "opened",
    "save",
]


@called(
    "write fit(step, data, epochs), the batch is the step's",
    {"epochs": whole(0), "seed": SEED, "schedule": optional(SCHEDULE)},
)
def fit(
    step: Step, data: Dataset, epochs: int, *, seed: int = 0, schedule: Schedule | None = None
) -> float:
    """Train for `epochs` passes over `data` and return the test accuracy, in [0, 1].

    The short way: a Trainer that keeps nothing on disk. On a terminal a progress bar shows loss,
    images per second and time left; elsewhere each epoch is a line. ArgumentError where a batch
    is larger than the data.
    """
    batch = step.plan.batch
    if batch > len(data.train_images):
        raise ArgumentError(
            f"batch {batch} is larger than the {len(data.train_images)} training images of "
            f"{data.name}",
            "use a smaller batch",
        )
    train = Shuffled(data.train_images, data.train_labels, batch, seed=seed)
    test = InOrder(data.test_images, data.test_labels, batch)
    history = Trainer(step, schedule=schedule).fit(train, test, epochs)
    return history.last.top1 or 0.0 if history.epochs else 0.0


@called()
def evaluate(step: Step, images: Array, labels: Array) -> float:
    """Share of `images` whose largest output is their label."""
    if len(images) != len(labels):
        raise ArgumentError(f"images and labels: {len(images)} and {len(labels)} do not fit")
    return float((step.predict(images).argmax(axis=1) == labels).mean())
