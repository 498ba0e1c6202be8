"""Train a network; with no flags AlexNet on the bundled handwritten digits."""

from __future__ import annotations

import argparse

import minidl as dl
from minidl.cli.options import (
    add_device,
    add_network,
    add_optimizer,
    add_planning,
    device,
    network,
    optimizer,
    planning,
    positive,
)
from minidl.data import digits
from minidl.train import SCHEDULES, fit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_network(parser, model="alexnet", batch=64, classes=10)
    add_optimizer(parser, lr=0.005)
    parser.add_argument(
        "--lr-scheduler", choices=list(SCHEDULES), default="cosine", help="of the learning rate"
    )
    add_planning(parser)
    parser.add_argument(
        "--data-path",
        default="digits",
        metavar="NAME",
        choices=["digits"],
        help="what to train on: digits, the bundled pictures",
    )
    parser.add_argument("--epochs", type=positive, default=10, help="passes over the pictures")
    parser.add_argument("--seed", type=int, default=0, help="of weights, dropout and shuffling")
    add_device(parser)
    parser.add_argument(
        "--check-finite",
        action="store_true",
        help="stop at the first op that writes a NaN or an infinity",
    )


def run(options: argparse.Namespace) -> int:
    options.image = options.image or 64
    channels = dl.models.MODELS[options.model]().image[2]
    net = network(options, channels)
    data = digits((options.image, options.image, channels))
    step = dl.compile(
        net,
        options.batch_size,
        optimizer=optimizer(options),
        seed=options.seed,
        scratch_limit=options.scratch,
        check_finite=options.check_finite,
        **device(options),
        **planning(options),
    )
    print(step.plan, flush=True)
    fit(step, data, options.epochs, options.seed, SCHEDULES[options.lr_scheduler])
    return 0
