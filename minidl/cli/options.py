"""Flags that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import minidl as dl
from minidl.compiler.modes import MODES, switches
from minidl.ir import parse_size


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def size(text: str) -> int:
    """Bytes: `12GiB`, `800MiB`, `1.5GB`."""
    try:
        return parse_size(text)
    except dl.ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_network(parser: argparse.ArgumentParser, model: str, batch: int, classes: int) -> None:
    """--model, -b, --image, --classes, --scratch."""
    parser.add_argument(
        "--model",
        choices=sorted(dl.models.MODELS),
        default=model,
        metavar="NAME",
        help=f"network: {', '.join(sorted(dl.models.MODELS))}",
    )
    parser.add_argument(
        "-b", "--batch-size", type=positive, default=batch, metavar="N", help="pictures in one step"
    )
    parser.add_argument(
        "--image",
        type=positive,
        metavar="PIXELS",
        help="height and width of the pictures (default: the command's or model's)",
    )
    parser.add_argument(
        "--classes", type=positive, default=classes, metavar="N", help="outputs of the network"
    )
    parser.add_argument(
        "--scratch",
        type=size,
        default="32MiB",
        metavar="SIZE",
        help="most workspace that one op may plan",
    )


def add_optimizer(parser: argparse.ArgumentParser, lr: float) -> None:
    """--opt, --lr, --momentum, --wd."""
    parser.add_argument("--opt", choices=list(OPTIMIZERS), default="sgd", help="optimizer")
    parser.add_argument("--lr", type=float, default=lr, help="learning rate")
    parser.add_argument("--momentum", type=float, default=0.9, help="SGD's momentum")
    parser.add_argument(
        "--wd", "--weight-decay", type=float, default=5e-4, dest="weight_decay", help="weight decay"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device, --precision, --tuning."""
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="cuda: an NVIDIA GPU"
    )
    parser.add_argument(
        "--precision",
        choices=["float32", "tf32", "bf16"],
        default="float32",
        help="tf32, bf16: tensor cores, on cuda",
    )
    parser.add_argument(
        "--tuning", metavar="FILE", help="measured tiles of matrix products on cuda, JSON"
    )


def device(options: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_device` as arguments of dl.plan and dl.compile."""
    return {name: getattr(options, name) for name in ("device", "precision", "tuning")}


def add_memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--memory", choices=list(MODES), default="arena", help="memory mode")


def add_planning(parser: argparse.ArgumentParser) -> None:
    """--memory, --recompute, --budget, --slices, --without."""
    add_memory(parser)
    parser.add_argument(
        "--recompute",
        type=float,
        metavar="SHARE",
        help="share of the step's operations that running forward ops again may take: 0.01 for "
        "1 %%; by default only ops as cheap as an elementwise pass run again",
    )
    parser.add_argument(
        "--budget", type=size, metavar="SIZE", help="fit into it, at the least extra work"
    )
    parser.add_argument(
        "--slices",
        type=positive,
        default=1,
        metavar="N",
        help="parts of the batch that the first layers run on one after the other",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=switches(),
        metavar="PASS",
        help=f"leave a pass of the compiler out: {', '.join(switches())}",
    )


def planning(options: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_planning` as arguments of dl.plan and dl.compile."""
    names = ("memory", "recompute", "budget", "slices", "without")
    return {name: getattr(options, name) for name in names}


OPTIMIZERS: dict[str, Callable[[argparse.Namespace], dl.Optimizer]] = {
    "sgd": lambda o: dl.SGD(o.lr, o.momentum, o.weight_decay),
    "sgd_nesterov": lambda o: dl.SGD(o.lr, o.momentum, o.weight_decay, nesterov=True),
    "adam": lambda o: dl.Adam(o.lr, weight_decay=o.weight_decay),
    "adamw": lambda o: dl.AdamW(o.lr, weight_decay=o.weight_decay),
}


def optimizer(options: argparse.Namespace) -> dl.Optimizer:
    return OPTIMIZERS[options.opt](options)


def network(options: argparse.Namespace, channels: int | None = None) -> dl.Network:
    """The model that the flags name; the model's own image where no flag says otherwise."""
    build: Callable[..., dl.Network] = dl.models.MODELS[options.model]
    if options.image is None and channels is None:
        return build(options.classes)
    depth = channels if channels is not None else build().image[2]
    return build(options.classes, (options.image, options.image, depth))
