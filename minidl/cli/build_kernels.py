"""Compile the kernels of a step for a GPU that need not be there.

Neither a driver nor CuPy is needed.

Where the same NVRTC is installed, MINIDL_CACHE=DIR takes them from the folder.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tqdm.auto import tqdm

import minidl as dl
from minidl.cards import BY_NAME
from minidl.cli.options import (
    SEVERAL,
    Group,
    add_config,
    add_network,
    add_optimizer,
    add_planning,
    add_settings,
    add_switch,
    network,
    optimizer,
    planning,
    settings,
)
from minidl.cli.values import path, positive
from minidl.console import say
from minidl.devices import nvrtc
from minidl.devices.architecture import CodeTarget, architecture_for, card_named
from minidl.devices.building import build
from minidl.devices.cubins import cache_folder
from minidl.devices.kernels import Unit, unit_of
from minidl.front import step_plans
from minidl.ir import ArgumentError
from minidl.ir.card import Card
from minidl.ops.cuda import launches_of
from minidl.predict import model_image, usual_constants
from minidl.train.progress import bar_file, someone_looks

EXAMPLES = (
    (
        "minidl build-kernels --model resnet50 -b 64 --precision bf16 --gpu h100 --out kernels",
        "then MINIDL_CACHE=kernels where the card is",
    ),
    (
        "minidl build-kernels --model alexnet --model vgg16 --precision tf32 --precision bf16 "
        "--gpu rtx3060",
        "several networks and precisions, into the user's cache",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    group = add_network(parser, model=None, batch=64, classes=1000, several=True)
    add_switch(group, "--bytes", "the input is bytes, as that of images is")
    add_optimizer(parser, lr=0.01)
    add_planning(parser)
    _add_card(parser.add_argument_group("device"))
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", type=path, metavar="DIR", help="where they go (default: the user's cache)"
    )
    output.add_argument(
        "-j", "--workers", type=positive, metavar="N", help="processes (default: one a core)"
    )


def _add_card(group: Group) -> None:
    group.add_argument(
        "--gpu",
        metavar="NAME",
        help=f"card: {', '.join(BY_NAME)}; or an architecture as sm_90",
    )
    group.add_argument(
        "--precision",
        action="append",
        choices=["float32", "tf32", "bf16"],
        default=[],
        metavar="NAME",
        help=f"float32 (where none is given), tf32 or bf16{SEVERAL}",
    )
    add_settings(group, "device", ("tuning", "scratch_limit"))


def run(options: argparse.Namespace) -> int:
    if not options.model or options.gpu is None:
        raise ArgumentError(f"{'--gpu' if options.model else '--model'} NAME is needed")
    card = card_named(options.gpu)
    architecture = architecture_for(card.limits.capability, nvrtc.supported())
    folder = options.out or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if architecture.said:
        say(f"note: {architecture.said}")
    units = _units(options, card)
    made = sum(_build(units, architecture, folder, options.workers or 0))
    there = f", {len(units) - made} were there" if made < len(units) else ""
    compiler = f"NVRTC {nvrtc.dotted(nvrtc.version())}"
    say(f"{made} kernels compiled for {architecture.name} by {compiler}{there}: {folder}")
    return 0


def _build(
    units: list[Unit], architecture: CodeTarget, folder: Path, workers: int
) -> Iterator[bool]:
    done = build(units, architecture, folder, workers)
    bar = tqdm(
        done,
        architecture.name,
        len(units),
        leave=False,
        unit="kernel",
        disable=not someone_looks(),
        file=bar_file(),
    )
    with bar, closing(done):
        yield from bar


def _units(options: argparse.Namespace, card: Card) -> list[Unit]:
    """Every kernel of the training steps and predictions, once."""
    found: dict[str, Unit] = {}
    for model, precision in itertools.product(options.model, options.precision or ["float32"]):
        say(f"{model}, batch {options.batch_size}, {precision}")
        for plan in step_plans(
            _network(options, model),
            options.batch_size,
            card=card,
            optimizer=optimizer(options),
            **{**settings(options, "device"), "precision": precision},
            **planning(options),
        ):
            units = (unit_of(launch) for op in plan.graph.ops for launch in launches_of(op))
            found.update((unit.entry, unit) for unit in units)
    return list(found.values())


def _network(options: argparse.Namespace, model: str) -> dl.Network:
    net = network(argparse.Namespace(**{**vars(options), "model": model}))
    return dl.from_bytes(net, *usual_constants(model_image(model)[2])) if options.bytes else net
