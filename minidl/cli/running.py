"""Flags of a run: how long, what is kept and shown; and the trainer that they make."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import minidl as dl
from minidl.cli.options import add_switch
from minidl.cli.schedules import schedule
from minidl.cli.values import path, place, positive, seed
from minidl.ir import ArgumentError
from minidl.train import Callback, EarlyStopping, Ema, Png, TensorBoard, Trainer
from minidl.train import checkpoint as checkpoints
from minidl.train.best import METRICS


def add_run(parser: argparse.ArgumentParser) -> None:
    """--epochs, --seed, --print-freq, --output-dir, --resume and what belongs to them."""
    group = parser.add_argument_group("run")
    group.add_argument("--epochs", type=positive, default=10, metavar="N", help="passes over it")
    group.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of weights, dropout, order and crops"
    )
    group.add_argument(
        "--print-freq", type=positive, metavar="N", help="also show and log every N steps"
    )
    group.add_argument(
        "--output-dir",
        type=path,
        metavar="DIR",
        help="gets checkpoints, logs, a report and the weights (default: nothing is kept)",
    )
    group.add_argument(
        "--resume",
        type=place,
        metavar="PATH",
        help="go on from a run's folder or one of its checkpoints, with the flags it had where "
        "none are given; auto: from --output-dir where it has a checkpoint, else begin",
    )
    add_switch(group, "--other-data", "--resume with other images of the same classes")
    group.add_argument(
        "--keep", type=positive, default=3, metavar="N", help="checkpoints to keep, one an epoch"
    )
    group.add_argument(
        "--keep-best",
        nargs="?",
        const="auto",
        default="auto",
        choices=["auto", "off", *METRICS],
        metavar="METRIC",
        help=f"keep the checkpoint of the best epoch too, by one of {', '.join(METRICS)}; auto: by "
        "accuracy, of the averaged weights where there are some; off: do not",
    )
    group.add_argument(
        "--checkpoint-every", type=positive, metavar="N", help="save every N steps too"
    )
    group.add_argument(
        "--early-stopping",
        type=positive,
        metavar="N",
        help="stop after N epochs without a better validation loss",
    )
    add_switch(group, "--check-finite", "stop at the first op that writes a NaN or an infinity")
    add_switch(group, "--plot", "draw curves.png too (extra: minidl[plot])")
    add_switch(group, "--tensorboard", "write TensorBoard's files too (extra: minidl[tensorboard])")


def add_averaging(parser: argparse.ArgumentParser) -> None:
    """--model-ema, --model-ema-steps, --model-ema-decay."""
    group = parser.add_argument_group("averaged weights")
    add_switch(group, "--model-ema", "keep a moving average of the weights, and validate it too")
    group.add_argument(
        "--model-ema-steps", type=positive, default=32, metavar="N", help="steps between updates"
    )
    group.add_argument(
        "--model-ema-decay",
        type=float,
        default=0.99998,
        metavar="SHARE",
        help="share that an update keeps, for batch N / steps = epochs; else adjusted to that, as "
        "torchvision does",
    )


def averaging(options: argparse.Namespace) -> Ema | None:
    """What the flags of `add_averaging` ask for."""
    if not options.model_ema:
        return None
    if not 0 <= options.model_ema_decay < 1:
        raise ArgumentError(f"--model-ema-decay must be in [0, 1), got {options.model_ema_decay}")
    decay, every = options.model_ema_decay, options.model_ema_steps
    return Ema.for_run(batch=options.batch_size, epochs=options.epochs, decay=decay, every=every)


def require_folder(options: argparse.Namespace) -> None:
    """ArgumentError where a flag writes into a folder that no flag names."""
    asked = {name: getattr(options, name) for name in ("plot", "tensorboard", "checkpoint_every")}
    asked["keep_best"] = options.keep_best in METRICS
    for name in (name for name, value in asked.items() if value and options.output_dir is None):
        raise ArgumentError(f"--{name.replace('_', '-')} needs --output-dir")
    if options.keep_best.startswith("ema_") and not options.model_ema:
        raise ArgumentError(f"--keep-best {options.keep_best} needs --model-ema")
    if options.resume == "auto" and options.output_dir is None:
        raise ArgumentError("--resume auto looks into --output-dir", "name one")


def resumed(resume: str | None, output_dir: Path | None) -> Path | None:
    """The file or folder to go on from, None where a run begins."""
    if resume != "auto":
        return None if resume is None else Path(resume)
    return output_dir if output_dir is not None and checkpoints.found(output_dir) else None


KEEP_BEST = {"auto": True, "off": False}
"""--keep-best as an argument of Trainer, where it is no metric."""


def trainer(
    step: dl.Step, options: argparse.Namespace, arguments: dict[str, Any], measured: str
) -> Trainer:
    callbacks: list[Callback] = []
    if options.early_stopping:
        callbacks.append(EarlyStopping(patience=options.early_stopping))
    if options.plot:
        callbacks.append(Png())
    if options.tensorboard:
        callbacks.append(TensorBoard(every=options.print_freq))
    return Trainer(
        step,
        schedule=schedule(options),
        callbacks=callbacks,
        output_dir=options.output_dir,
        keep=options.keep,
        keep_best=KEEP_BEST.get(options.keep_best, options.keep_best),
        print_freq=options.print_freq,
        ema=averaging(options),
        resume=options.found,
        own_rate="lr" in options.changed,
        checkpoint_every=options.checkpoint_every,
        arguments=arguments,
        other_data=options.other_data,
        measured=measured,
    )
