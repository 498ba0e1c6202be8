"""Trainer: epochs of steps, validated, logged and saved, that can stop and go on at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from minidl.console import tell
from minidl.data.fingerprint import Fingerprint
from minidl.files.atomic import sweep
from minidl.files.lock import locked
from minidl.ir import ArgumentError, Array, CheckpointError, NotFiniteError
from minidl.ir.calls import called
from minidl.ir.copies import Uncopied
from minidl.ir.printed import never_raises
from minidl.ir.readers import COUNT, FLAG, PATH, Reader, choice, either, instance, optional, whole
from minidl.runtime.step import Prepared, Step
from minidl.train import checkpoint
from minidl.train.beforehand import measured, require_batches, require_validation
from minidl.train.best import METRICS, KeepBest
from minidl.train.callbacks import Callback, Checkpoints
from minidl.train.checkpoint import Checkpoint
from minidl.train.ema import Ema
from minidl.train.history import ACCURACY, Epoch, History
from minidl.train.interrupt import Interrupt
from minidl.train.loaders import LOADER, Batch, Feed, as_loader, fingerprint
from minidl.train.log import Log
from minidl.train.metrics import Evaluation, measure
from minidl.train.progress import Progress
from minidl.train.report import Report
from minidl.train.same_data import require_same
from minidl.train.schedules import SCHEDULE, Constant, Memory, Position, Schedule

Data = Feed | Iterable[Any]


CALLBACK = instance(Callback)


def _callbacks(value: Any) -> tuple[Callback, ...]:
    many = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(CALLBACK.read(one) for one in many)


@called(
    "write Trainer(step, schedule=..., callbacks=...), the loader is for fit",
    {
        "schedule": optional(SCHEDULE),
        "callbacks": Reader("a list of callbacks", _callbacks),
        "keep": COUNT,
        "keep_best": either(FLAG, replace(choice(METRICS), hint=ACCURACY)),
        "print_freq": optional(COUNT),
        "resume": optional(either(PATH, instance(Checkpoint))),
        "checkpoint_every": optional(COUNT),
    },
    optimizer="",
)
class Trainer(Uncopied):
    """Train `step` on a loader, and remember all of it.

    schedule: factor of the learning rate that the step has now. callbacks: run in order, before
    those for the folder. output_dir: gets `args.json`, `log.csv`, `steps.csv` (a row every
    `print_freq` steps), `report.html`, `confusion.csv` and the last `keep` checkpoints, one an
    epoch, and one every `checkpoint_every` steps. keep_best: beside these stays
    `checkpoint-best.safetensors`, of the epoch that is the best by a field of `Epoch`; True is the
    accuracy, or the loss where there is none, of the averaged weights where these are validated. A
    smaller loss is better; of equal epochs the first stays. ema: averaged weights, validated
    beside the step's. resume: a checkpoint, by its path or as `minidl.train.opened` read it, or a
    folder, of which the last good one is taken. arguments: how the run was asked for, to be kept.
    other_data: go on with other images than the checkpoint's run had, of the same classes.
    own_rate: go on with the step's learning rate, not the checkpoint's. measured: what the split is
    called that `fit` validates on, as lines have it. quiet: print nothing.

    A step that accumulates over k calls has k steps here for each update: schedules, intervals and
    logs count calls, the rate of an update is that of its last call, and `ema` counts updates.
    Gradients that wait at the end of an epoch go into the next one's first update, and those that
    wait at the end of the run into none.

    A run that is resumed ends in the same bits as one that never stopped, where the loader gives
    the same batches for the same epoch; schedule, ema and callbacks must be the same ones.
    ArgumentError or CheckpointError where it cannot begin: the step is then unchanged.
    """

    instead: ClassVar[str] = "make another Trainer of a step of its own"

    def __init__(
        self,
        step: Step,
        *,
        schedule: Schedule | None = None,
        callbacks: Sequence[Callback] = (),
        output_dir: str | Path | None = None,
        keep: int = 3,
        keep_best: bool | str = True,
        print_freq: int | None = None,
        ema: Ema | None = None,
        resume: str | Path | Checkpoint | None = None,
        checkpoint_every: int | None = None,
        arguments: Mapping[str, Any] | None = None,
        other_data: bool = False,
        own_rate: bool = False,
        measured: str = "test",
        quiet: bool = False,
    ) -> None:
        self.step, self.schedule, self.ema = step, schedule or Constant(), ema
        self.output_dir = None if output_dir is None else Path(output_dir).expanduser()
        self.keep, self.arguments, self.measured = keep, dict(arguments or {}), measured
        self.other_data, self.own_rate = other_data, own_rate
        self.resumed: Path | None = None
        self.data: dict[str, Fingerprint] = {}
        """Of the images, where somebody asks for it."""
        self._data_before: dict[str, Fingerprint] | None = None
        """That of the checkpoint, until it was compared."""
        self.base_rate = step.learning_rate
        self.epochs = self.epoch = self.batch = self.steps = self.steps_per_epoch = 0
        self.loss = math.nan
        self.measured_fields: frozenset[str] = frozenset()
        self.history = History()
        self.evaluation: Evaluation | None = None
        self.stop = ""
        self.memory: Memory = {}
        self._loss_sum, self._loss_count = 0.0, 0
        self._within = False
        """Whether a step or the end of an epoch is half done, and nothing can be saved."""
        self._kept: tuple[tuple[int, int], Path | None] = ((0, 0), None)
        """Steps and epochs done of what is on the disk, and where it is."""
        self.callbacks = [*([] if quiet else [Progress(print_freq=print_freq)]), *callbacks]
        if self.output_dir is not None:
            self.callbacks += [Log(every=print_freq), Report()]
            if keep_best:
                self.callbacks.append(KeepBest(None if keep_best is True else keep_best))
            self.callbacks.append(Checkpoints(every=checkpoint_every))
        else:
            _require_no_folder(checkpoint_every=checkpoint_every, keep_best=keep_best)
        if isinstance(keep_best, str) and keep_best.startswith("ema_") and ema is None:
            raise ArgumentError(
                f"keep_best watches {keep_best}, and there are no averaged weights",
                "give an ema, or choose another metric",
            )
        if resume is not None and not isinstance(resume, Checkpoint):
            resume = checkpoint.opened(resume)
        if self.output_dir is not None:
            checkpoint.require_own(self.output_dir, None if resume is None else resume.path)
        if resume is not None:
            self._resume(resume)

    @never_raises
    def __repr__(self) -> str:
        folder = f", into {self.output_dir}" if self.output_dir is not None else ""
        stopped = f", stopped: {self.stop}" if self.stop else ""
        done = f"epoch {self.epoch:,} of {self.epochs:,}, {self.steps:,} steps"
        return f"<Trainer of {self.step!r}, {self.schedule!r}{folder}: {done}{stopped}>"

    @called(
        "write fit(train, val, epochs=10), the batch is the step's",
        {"train": LOADER, "val": optional(LOADER), "epochs": whole(0)},
        batch_size="",
        x="train",
    )
    def fit(self, train: Data, val: Data | None = None, epochs: int = 1) -> History:
        """Train until `epochs` epochs are done, those before a resume included, and validate on
        `val` after each.

        NotFiniteError where a loss is not finite, naming the step, and the first op too where the
        step was compiled with check_finite. Ctrl-C, SIGTERM and SIGHUP let the step under way end,
        save a checkpoint where there is a folder, and raise KeyboardInterrupt, or Terminated, which
        ends the process with 128 and the signal's number. An error between steps or in a
        validation, a broken image, saves too; its notes (`__notes__`) say what is kept. Afterwards
        the learning rate is what it was.
        """
        train, val = as_loader(train), None if val is None else as_loader(val)
        require_batches(self.step, train)
        if val is not None:
            require_validation(self.step, val)
        self.measured_fields = measured(self.step, val, self.ema is not None)
        self._begin(train, epochs)
        if self.ema is not None:
            self.ema.warn_short(self.steps_per_epoch * epochs // self.step.accumulate)
        self._look_at(train, val)
        with self._own_folder(), Interrupt() as interrupt:
            try:
                self._call("on_fit_begin")
                while self.epoch < epochs and not self.stop:
                    self._train_epoch(train, interrupt)
                    self._end_epoch(val, interrupt)
                self._call("on_fit_end")
            except BaseException as error:
                self._keep(error)
                if isinstance(error, Exception):
                    interrupt.check()  # a signal may end a worker first, which is an error here
                raise
            finally:
                self.step.learning_rate = self.base_rate
                self._call("on_exit")
        if self.ema is not None and self.stop:
            self.ema.warn_short(self.steps // self.step.accumulate)
        self.history.stopped = self.stop
        return self.history

    @contextmanager
    def _own_folder(self) -> Iterator[None]:
        """Hold the folder against other runs, as it was when this one was made."""
        if self.output_dir is None:
            yield
            return
        self.output_dir.mkdir(parents=True, exist_ok=True)
        with locked(self.output_dir) as why:
            if why:
                tell(f"minidl: {self.output_dir} is not locked against other runs: {why}")
            checkpoint.require_own(self.output_dir, self._kept[1])
            sweep(self.output_dir, "")
            yield

    def save(self) -> Path:
        """Write a checkpoint of this moment; ArgumentError without an output_dir."""
        if self.output_dir is None:
            raise ArgumentError("a checkpoint needs an output_dir")
        path = checkpoint.save(self.output_dir, self.step, self._state(), self.keep)
        self._kept = (self.steps, self.epoch), path
        return path

    def save_best(self) -> Path:
        """Write a checkpoint of this moment as the one that stays; ArgumentError without an
        output_dir."""
        if self.output_dir is None:
            raise ArgumentError("a checkpoint needs an output_dir")
        return checkpoint.save_best(self.output_dir, self.step, self._state())

    def _keep(self, error: BaseException) -> None:
        """Save what an error or a signal between steps would lose, and note what is kept."""
        if self.output_dir is None or isinstance(error, CheckpointError):
            return
        if not self._within and self._kept[0] != (self.steps, self.epoch):
            with suppress(CheckpointError):  # what is kept then is the one before
                self.save()
        (steps, _), path = self._kept
        if path is not None:
            whole = steps == self.steps and self.batch in (0, self.steps_per_epoch)
            done = f"epoch {steps // self.steps_per_epoch}" if whole else f"step {steps:,}"
            error.__dict__.setdefault("__notes__", []).append(f"{done} is saved: {path}")

    # -- epochs and steps ------------------------------------------------------------------

    def _begin(self, train: Feed, epochs: int) -> None:
        length = len(train)
        if not length:
            raise ArgumentError("the training loader has no batch", "use a smaller batch")
        if self.batch and length != self.steps_per_epoch:
            raise ArgumentError(
                f"the run stopped at batch {self.batch} of {self.steps_per_epoch} of an epoch, and "
                f"this loader has {length} batches",
                "resume with the same data and batch",
            )
        self.epochs, self.steps_per_epoch, self.stop = epochs, length, ""
        self._within, self._started = False, time.perf_counter()

    def _look_at(self, train: Feed, val: Feed | None) -> None:
        """ArgumentError where the images are not those that the run began with."""
        if self.output_dir is None and self._data_before is None:
            return
        feeds = {"train": train, **({} if val is None else {"val": val})}
        self.data = {name: own for name, feed in feeds.items() if (own := fingerprint(feed))}
        if self._data_before is not None:
            require_same(self.data, self._data_before, self.other_data)
            self._data_before = None

    def _train_epoch(self, train: Feed, interrupt: Interrupt) -> None:
        self._call("on_epoch_begin")
        start, images = time.perf_counter(), 0
        batches = iter(train.epoch(self.epoch, start=self.batch))
        batch = self._put_next(batches)
        while batch is not None:
            images += len(batch[-1])
            self._within = True
            batch, failed = self._train_step(batch, batches)
            self._call("on_step_end")
            self._within = False
            interrupt.check()
            if failed is not None:
                raise failed
        if not self._loss_count:
            raise ArgumentError(f"the training loader gave no batch in epoch {self.epoch + 1}")
        self._speed = images / max(1e-9, time.perf_counter() - start)

    def _put_next(self, batches: Iterator[Batch]) -> Prepared | None:
        """Send the next batch to the device, which may still be at work; None at the end."""
        arrays = next(batches, None)
        return None if arrays is None else self.step.put(*arrays)

    def _train_step(
        self, batch: Prepared, batches: Iterator[Batch]
    ) -> tuple[Prepared | None, Exception | None]:
        """One step; the batch that was put meanwhile, or what went wrong with it: this step is
        done all the same, and counts."""
        self.step.learning_rate = self._rate()
        finish, following, failed = self.step.start(batch), None, None
        try:
            following = self._put_next(batches)
        except Exception as error:
            failed = error
        loss = finish()
        self.batch, self.steps, self.loss = self.batch + 1, self.steps + 1, loss
        if not math.isfinite(loss):
            raise NotFiniteError(
                f"step {self.steps}: the loss is {loss}",
                "lower the learning rate, or run with check_finite (--check-finite), which names "
                "the first op that is not finite",
            )
        self._loss_sum, self._loss_count = self._loss_sum + loss, self._loss_count + 1
        updates, held = self.steps // self.step.accumulate, self.step.held
        if self.ema is not None and not held and updates % self.ema.every == 0:
            self.ema.update(self.step)
        return following, failed

    def _rate(self) -> float:
        done = self.epoch * self.steps_per_epoch + self.batch
        at = Position(done, self.steps_per_epoch, self.epochs)
        return self.base_rate * self.schedule.factor(at, self.memory)

    def _end_epoch(self, val: Feed | None, interrupt: Interrupt) -> None:
        if val is not None and self.output_dir is not None:
            self.save()  # what is trained is safe, whatever becomes of the validation
        measured = {}
        if val is not None:
            self._call("on_validation_begin")
            measured = self._validate(val, interrupt)
        done = Epoch(
            epoch=self.epoch + 1,
            steps=self.steps,
            loss=self._loss_sum / self._loss_count,
            learning_rate=self.step.learning_rate,
            **measured,
            speed=self._speed,
            seconds=time.perf_counter() - self._started,
        )
        self._within = True
        self.history.epochs.append(done)
        watched = done.loss if done.val_loss is None else done.val_loss
        self.memory = self.schedule.observe(self.memory, watched)
        self.epoch, self.batch = self.epoch + 1, 0
        self._loss_sum, self._loss_count = 0.0, 0
        self._call("on_epoch_end")
        self._within = False
        interrupt.check()

    def _validate(self, val: Feed, interrupt: Interrupt) -> dict[str, float | None]:
        """Fields of `Epoch`, of the step's weights and of averaged ones."""

        def batches() -> Iterable[tuple[Array, ...]]:
            for arrays in val.epoch(0):
                interrupt.check()
                yield arrays

        found = self.evaluation = measure(self.step, batches())
        fields = {"val_loss": found.loss, "top1": found.top1, "top5": found.top5}
        if self.ema is not None and self.ema.arrays:
            with self.ema.swapped(self.step):
                mean = measure(self.step, batches())
            fields |= {"ema_loss": mean.loss, "ema_top1": mean.top1, "ema_top5": mean.top5}
        return fields

    def _call(self, event: str) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self)

    # -- state -----------------------------------------------------------------------------

    def _state(self) -> checkpoint.State:
        kept = self._by_name()
        arrays = {f"callback {name}": found for name, c in kept.items() if (found := c.arrays())}
        if self.ema is not None and self.ema.arrays:
            arrays["ema"] = self.ema.arrays
        return checkpoint.State(
            steps=self.steps,
            epoch=self.epoch,
            batch=self.batch,
            steps_per_epoch=self.steps_per_epoch,
            learning_rate=self.base_rate,
            loss_sum=self._loss_sum,
            loss_count=self._loss_count,
            schedule=dict(self.memory),
            history=self.history.rows(),
            callbacks={name: found for name, c in kept.items() if (found := c.state())},
            arguments=self.arguments,
            data=self.data,
            arrays=arrays,
        )

    def _by_name(self) -> dict[str, Callback]:
        """The callbacks by class; a second one of a class gets a number."""
        named: dict[str, Callback] = {}
        for callback in self.callbacks:
            name, number = type(callback).__name__, 1
            while (full := f"{name} {number}" if number > 1 else name) in named:
                number += 1
            named[full] = callback
        return named

    def _resume(self, given: Checkpoint) -> None:
        path, state = given.path, checkpoint.load(given, self.step)
        self.resumed = path
        self._kept, self._data_before = ((state.steps, state.epoch), path), state.data
        try:
            self.history = History.of(state.history)
            for name, callback in self._by_name().items():
                if name in state.callbacks:
                    arrays = state.arrays.get(f"callback {name}", {})
                    callback.load(state.callbacks[name], arrays)
        except (KeyError, TypeError, ValueError) as error:  # a user's callback raises what it likes
            raise CheckpointError(f"{path}: its state is not one of a run: {error}") from None
        self.steps, self.epoch, self.batch = state.steps, state.epoch, state.batch
        self.steps_per_epoch = state.steps_per_epoch
        self._take_rate(state.learning_rate)
        self._loss_sum, self._loss_count = state.loss_sum, state.loss_count
        self.memory = state.schedule
        if self.ema is not None:
            self.ema.load(state.arrays.get("ema", {}))

    def _take_rate(self, saved: float) -> None:
        """The checkpoint's base rate, and a line where the step was compiled with another one."""
        if self.own_rate or saved == self.base_rate:
            return
        rates = f"{saved:.4g}, not the step's {self.base_rate:.4g}"
        tell(f"minidl: the learning rate is the checkpoint's, {rates} (own_rate=True takes it)")
        self.base_rate = saved


def _require_no_folder(**asked: Any) -> None:
    """ArgumentError for what is kept in a folder, where there is none."""
    for name, value in asked.items():
        if value is not None and not isinstance(value, bool):
            raise ArgumentError(f"{name} needs an output_dir")
