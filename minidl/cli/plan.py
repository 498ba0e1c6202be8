"""What a training step needs, in every memory mode.

No device is touched.
"""

from __future__ import annotations

import argparse

import minidl as dl
from minidl.cli.compared import print_ablation, print_card, print_largest_batches
from minidl.cli.options import (
    Group,
    add_config,
    add_device,
    add_network,
    add_optimizer,
    add_planning,
    add_switch,
    device,
    network,
    optimizer,
    planning,
)
from minidl.cli.values import gpu, path, size
from minidl.console import result, show, waiting
from minidl.devices.known import OF_CARDS
from minidl.files.atomic import write_text
from minidl.report.curve import Curve
from minidl.report.tiles import gain
from minidl.report.times import StepTime

EXAMPLES = (
    ("minidl plan --model vgg16 -b 128", "what one step needs, in every memory mode"),
    ("minidl plan --model vgg16 -b 128 --device cuda --json plan.json", "the plan as a file"),
    (
        "minidl plan --model vgg16 --device cuda --gpu-memory 12GiB --recompute 0.01",
        "the largest batch that fits",
    ),
    ("minidl plan --model resnet50 -b 64 --gpu a100 --curve", "what more work saves, plan by plan"),
    ("minidl plan --model resnet50 -b 64 --gpu rtx3060", "for one card, and which batch fits"),
    (
        "minidl plan --model resnet50 -b 64 --precision bf16 --gpu a100 --time",
        "how long a step takes",
    ),
    ("minidl plan --model lenet --classes 10 --summary --explain", "layer by layer"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_network(parser, model="alexnet", batch=128, classes=1000)
    add_optimizer(parser, lr=0.01)
    add_planning(parser)
    add_device(parser).add_argument(
        "--gpu", type=gpu, metavar="NAME", help="plan for this card, as rtx3060; implies cuda"
    )
    _add_output(parser.add_argument_group("output"))


def _add_output(group: Group) -> None:
    group.add_argument(
        "--gpu-memory", type=size, metavar="SIZE", help="show the largest batch that fits"
    )
    add_switch(group, "--summary", "show layer by layer shape, parameters, work, stash")
    add_switch(group, "--curve", "show what more work saves: about ten plans, each proven")
    add_switch(group, "--time", "predict the step on the card: its longest ops, what bounds each")
    add_switch(group, "--explain", "say layer by layer what was chosen, and why")
    add_switch(group, "--ablate", "show what each pass of the compiler buys")
    group.add_argument(
        "--tiles",
        type=path,
        metavar="FILE",
        help="write tiles for --tuning that --time would choose",
    )
    group.add_argument("--json", type=path, metavar="FILE", help="write the plan file")
    group.add_argument("--html", type=path, metavar="FILE", help="write a page to look at")
    group.add_argument("--png", type=path, metavar="FILE", help="draw it (extra: minidl[plot])")
    group.add_argument(
        "--snapshot", type=path, metavar="FILE", help="write it for PyTorch's memory viewer"
    )


def run(options: argparse.Namespace) -> int:
    if options.gpu is not None:
        options.device = OF_CARDS
    with waiting(f"planning {options.model}, batch {options.batch_size}") as progress:
        plan = dl.plan(
            network(options),
            options.batch_size,
            optimizer=optimizer(options),
            **device(options),
            **planning(options),
            gpu=options.gpu,
            progress=progress,
        )
        _report(plan, options)
    return 0


def _report(plan: dl.Plan, options: argparse.Namespace) -> None:
    """All that was asked for, most of which needs other plans."""
    time = plan.time() if options.time else None
    curve = plan.curve() if options.curve else None
    _write(plan, curve, time, options)
    show(plan.table())
    print_card(plan, named=options.gpu is not None)
    if time is not None:
        show(time.table())
        show(gain(time, plan.tiles()))
    if options.gpu_memory is not None:
        print_largest_batches(plan, options.gpu_memory)
    if options.ablate:
        print_ablation(plan)
    if options.summary:
        show(plan.summary())
    if options.explain:
        show(plan.explain())
    if curve is not None:
        show(curve.table())
    for name, what in FILES.items():
        if getattr(options, name) is not None:
            result(f"{what}: {getattr(options, name)}")


FILES = {
    "tiles": "tiles for --tuning",
    "json": "plan file",
    "html": "page",
    "png": "drawing",
    "snapshot": "snapshot for pytorch.org/memory_viz",
}
"""What is written, by the flag that names it."""


def _write(
    plan: dl.Plan, curve: Curve | None, time: StepTime | None, options: argparse.Namespace
) -> None:
    """The files that were asked for, before anything is printed: a lost stream costs no file."""
    if options.tiles is not None:
        write_text(options.tiles, plan.tiles().to_json() + "\n")
    if options.json is not None:
        write_text(options.json, plan.to_json(curve, time) + "\n")
    if options.html is not None:
        write_text(options.html, plan.to_html("" if curve is None else curve.to_html()))
    if options.png is not None:
        plan.to_png(options.png)
    if options.snapshot is not None:
        plan.to_snapshot(options.snapshot)
