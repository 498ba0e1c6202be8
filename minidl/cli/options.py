"""Flags that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minidl as dl
from minidl.cli.values import positive, size
from minidl.compiler.modes import MODES, switches
from minidl.ir import ArgumentError
from minidl.predict import model_image

Group = argparse._ArgumentGroup
"""Where flags are added: their heading in --help."""


AGAIN = "; again for more than one"


def add_switch(group: Group, name: str, what: str, default: bool = False) -> None:
    """`--name`, and `--no-name` that takes back what a file says."""
    group.add_argument(name, action=argparse.BooleanOptionalAction, default=default, help=what)


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument_group("flags from a file").add_argument(
        "--config", type=Path, metavar="FILE", help="TOML, the flags' long names; flags here win"
    )


def add_network(
    parser: argparse.ArgumentParser,
    model: str | None,
    batch: int | None,
    classes: int | None,
    several: bool = False,
) -> Group:
    """--model, -b, --image, --classes; several: --model may be given again, and is a list."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--model",
        action="append" if several else "store",
        choices=sorted(dl.models.MODELS),
        default=[] if several else model,
        metavar="NAME",
        help=f"network: {', '.join(sorted(dl.models.MODELS))}{AGAIN if several else ''}",
    )
    if batch is not None:
        group.add_argument(
            "-b",
            "--batch-size",
            type=positive,
            default=batch,
            metavar="N",
            help="pictures in one step",
        )
    group.add_argument(
        "--image",
        type=positive,
        metavar="PIXELS",
        help="height and width of the pictures (default: the command's or model's)",
    )
    group.add_argument(
        "--classes",
        type=positive,
        default=classes,
        metavar="N",
        help="outputs of the network" + ("" if classes else " (default: what the data has)"),
    )
    return group


def add_optimizer(parser: argparse.ArgumentParser, lr: float) -> Group:
    """--opt, --lr, --momentum, --wd."""
    group = parser.add_argument_group("optimizer")
    group.add_argument("--opt", choices=list(OPTIMIZERS), default="sgd", help="optimizer")
    group.add_argument("--lr", type=float, default=lr, metavar="RATE", help="learning rate")
    group.add_argument(
        "--momentum", type=float, default=0.9, metavar="SHARE", help="SGD's momentum"
    )
    group.add_argument(
        "--wd",
        "--weight-decay",
        type=float,
        default=5e-4,
        dest="weight_decay",
        metavar="SHARE",
        help="weight decay",
    )
    return group


def add_device(parser: argparse.ArgumentParser) -> Group:
    """--device, --precision, --amp, --tuning, --scratch."""
    group = parser.add_argument_group("device")
    group.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="cuda: an NVIDIA GPU"
    )
    group.add_argument(
        "--precision",
        choices=["float32", "tf32", "bf16"],
        default="float32",
        help="tf32, bf16: tensor cores, on cuda",
    )
    add_switch(group, "--amp", "the same as --precision bf16")
    group.add_argument(
        "--tuning", metavar="FILE", help="measured tiles of matrix products on cuda, JSON"
    )
    group.add_argument(
        "--scratch",
        type=size,
        default="32MiB",
        metavar="SIZE",
        help="most workspace that one op may plan",
    )
    return group


def device(options: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_device` as arguments of dl.plan and dl.compile."""
    if options.amp and options.device != "cuda":
        raise ArgumentError("--amp computes in bf16 on tensor cores: it needs --device cuda")
    if options.amp and options.precision == "tf32":
        raise ArgumentError("--amp is bf16: leave --precision tf32 out")
    return {
        "device": options.device,
        "precision": "bf16" if options.amp else options.precision,
        "tuning": options.tuning,
        "scratch_limit": options.scratch,
    }


def add_planning(parser: argparse.ArgumentParser) -> Group:
    """--memory, --recompute, --budget, --slices, --prefetch, --clip-grad-norm, --accumulate,
    --without."""
    group = parser.add_argument_group("memory")
    group.add_argument("--memory", choices=list(MODES), default="arena", help="memory mode")
    group.add_argument(
        "--recompute",
        type=float,
        metavar="SHARE",
        help="share of the step's operations that running forward ops again may take: 0.01 for "
        "1 %%; by default only ops as cheap as an elementwise pass run again",
    )
    group.add_argument(
        "--budget", type=size, metavar="SIZE", help="fit into it, at the least extra work"
    )
    group.add_argument(
        "--slices",
        type=positive,
        default=1,
        metavar="N",
        help="parts of the batch that the first layers run on one after the other",
    )
    add_switch(group, "--prefetch", "copy the next batch to the GPU while a step runs; on cuda")
    group.add_argument(
        "--clip-grad-norm",
        type=float,
        metavar="NORM",
        help="clip all weight gradients by their norm together; the plan says what that costs",
    )
    group.add_argument(
        "--accumulate",
        type=positive,
        default=1,
        metavar="N",
        help="steps that make one update, with the mean of their gradients",
    )
    group.add_argument(
        "--without",
        action="append",
        default=[],
        choices=switches(),
        metavar="PASS",
        help=f"leave a pass of the compiler out: {', '.join(switches())}",
    )
    return group


def planning(options: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_planning` as arguments of dl.plan and dl.compile."""
    names = ("memory", "recompute", "budget", "slices", "prefetch", "accumulate", "without")
    named = {name: getattr(options, name) for name in names}
    return {**named, "clip_norm": options.clip_grad_norm}


OPTIMIZERS: dict[str, Callable[[argparse.Namespace], dl.Optimizer]] = {
    "sgd": lambda o: dl.SGD(o.lr, o.momentum, o.weight_decay),
    "sgd_nesterov": lambda o: dl.SGD(o.lr, o.momentum, o.weight_decay, nesterov=True),
    "adam": lambda o: dl.Adam(o.lr, weight_decay=o.weight_decay),
    "adamw": lambda o: dl.AdamW(o.lr, weight_decay=o.weight_decay),
}


def optimizer(options: argparse.Namespace) -> dl.Optimizer:
    return OPTIMIZERS[options.opt](options)


def network(options: argparse.Namespace) -> dl.Network:
    """The model that the flags name; the model's own image where no flag says otherwise."""
    build: Callable[..., dl.Network] = dl.models.MODELS[options.model]
    if options.image is None:
        return build(options.classes)
    return build(options.classes, (options.image, options.image, model_image(options.model)[2]))
