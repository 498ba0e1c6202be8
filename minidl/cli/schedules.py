"""Flags of the learning rate's schedule, torchvision's names."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from minidl.cli.values import epochs, natural, positive
from minidl.ir import ArgumentError
from minidl.train import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Plateau,
    Schedule,
    StepDecay,
    Warmup,
)


def add_schedule(parser: argparse.ArgumentParser) -> None:
    """--lr-scheduler and what the schedules need."""
    group = parser.add_argument_group("learning rate")
    group.add_argument(
        "--lr-scheduler",
        choices=list(SCHEDULES),
        default="cosine",
        metavar="NAME",
        help=f"how the learning rate changes: {', '.join(SCHEDULES)}",
    )
    group.add_argument(
        "--lr-step-size",
        type=positive,
        default=30,
        metavar="N",
        help="step: epochs between two cuts",
    )
    group.add_argument(
        "--lr-gamma",
        type=float,
        metavar="FACTOR",
        help="step, multistep, plateau: factor of a cut (default: 0.1); exponential: factor of an "
        "epoch (default: 0.95)",
    )
    group.add_argument(
        "--lr-milestones",
        type=epochs,
        metavar="N,N,...",
        help="multistep: epochs after which the rate is cut",
    )
    group.add_argument(
        "--lr-patience",
        type=natural,
        default=10,
        metavar="N",
        help="plateau: epochs without a better loss before a cut",
    )
    group.add_argument(
        "--lr-min",
        type=float,
        default=0.0,
        metavar="RATE",
        help="cosine, plateau: the least learning rate",
    )
    group.add_argument(
        "--lr-warmup-epochs",
        type=natural,
        default=0,
        metavar="N",
        help="epochs in which the rate rises to its value first",
    )
    group.add_argument(
        "--lr-warmup-decay",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="share of the rate that the warm-up starts from",
    )


def schedule(options: argparse.Namespace) -> Schedule:
    """What the flags of `add_schedule` ask for; ArgumentError where they contradict."""
    if options.lr_milestones and options.lr_scheduler != "multistep":
        raise ArgumentError("--lr-milestones belongs to --lr-scheduler multistep")
    made = SCHEDULES[options.lr_scheduler](options)
    if not options.lr_warmup_epochs:
        return made
    return Warmup(made, epochs=options.lr_warmup_epochs, start=options.lr_warmup_decay)


def _multistep(options: argparse.Namespace) -> Schedule:
    if not options.lr_milestones:
        raise ArgumentError("--lr-scheduler multistep needs --lr-milestones", "say 30,60")
    return MultiStep(options.lr_milestones, **_gamma(options))


def _gamma(options: argparse.Namespace) -> dict[str, Any]:
    return {} if options.lr_gamma is None else {"gamma": options.lr_gamma}


def _least(options: argparse.Namespace) -> float:
    """--lr-min as a share of --lr, which the optimizer refuses where it is none."""
    if not options.lr >= 0:
        return 0.0
    if not 0 <= options.lr_min <= options.lr:
        raise ArgumentError(
            f"--lr-min must be in [0, {options.lr}], the rate, got {options.lr_min}"
        )
    return float(options.lr_min / options.lr) if options.lr_min else 0.0


SCHEDULES: dict[str, Callable[[Any], Schedule]] = {
    "cosine": lambda o: Cosine(minimum=_least(o)),
    "constant": lambda _: Constant(),
    "step": lambda o: StepDecay(o.lr_step_size, **_gamma(o)),
    "multistep": _multistep,
    "exponential": lambda o: Exponential(**_gamma(o)),
    "one-cycle": lambda _: OneCycle(),
    "plateau": lambda o: Plateau(patience=o.lr_patience, minimum=_least(o), **_gamma(o)),
}
"""By name."""
