"""Measure trained weights on images: loss, top-1, top-5."""

from __future__ import annotations

import argparse
from pathlib import Path

from minidl.cli.images import add_images, loading
from minidl.cli.options import Group, add_config, add_device, add_network
from minidl.cli.trained import add_trained, predictor, say_formulas, say_weights
from minidl.cli.values import path, seed
from minidl.console import result, say, show, tell, waiting
from minidl.predict import ModelCard, write_confusion
from minidl.train import Evaluation
from minidl.train.metrics import no_confusion

SPLITS = ("test", "val", "held-out", "train", "all")
"""A data set has some of them."""

EXAMPLES = (
    ("minidl eval --run run", "what the run was not trained on of its images"),
    ("minidl eval --run run --data-path other --split all", "every image of another folder"),
    (
        "minidl eval --weights vgg16.pth --model vgg16 --class-names wnids.txt --data-path val",
        "weights of torchvision; folders are matched with the names, a line each",
    ),
    ("minidl eval --run run --confusion confusion.csv", "which class is taken for which"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    group = add_trained(parser)
    add_network(parser, model=None, batch=32, classes=None)
    images = add_images(parser, None)
    images.add_argument(
        "--split",
        choices=SPLITS,
        help="which of the images to measure on (default: test, else val, else held-out)",
    )
    images.add_argument(
        "--seed",
        type=seed,
        metavar="N",
        help="of the images held out where there is one split only (default: the run's, or 0)",
    )
    add_confusion(group)
    add_device(parser)


def add_confusion(group: Group) -> None:
    group.add_argument(
        "--confusion",
        type=path,
        metavar="FILE",
        help="write CSV: a row a class, a column for what it is taken for",
    )


def run(options: argparse.Namespace) -> int:
    network = predictor(options, options.batch_size)
    with waiting("listing the images"):
        images = network.images(options.data_path, options.seed)
    say(str(images))
    split = options.split or images.unseen
    count = sum(map(len, images.chosen(split)))
    with waiting(f"measuring {count:,} images"):
        found = network.evaluate(images, split, **loading(options))
    say_weights(network, options)
    report(found, f"{images.name} {split}", network.card, options.confusion)
    return 0


def report(found: Evaluation, name: str, card: ModelCard, confusion: Path | None) -> None:
    """The confusion matrix where a file is named, then a line."""
    if confusion is not None and found.confusion is not None:
        write_confusion(confusion, card, found.confusion)
    left = f" ({found.left_out:,} left out: they cannot be decoded)" if found.left_out else ""
    show(
        f"{name}  {found.count:,} images{left}  loss {found.loss:.4f}  "
        f"top-1 {100 * (found.top1 or 0.0):.2f} %  top-5 {100 * (found.top5 or 0.0):.2f} %"
    )
    if confusion is not None and found.confusion is None:
        tell(f"minidl: {no_confusion(str(confusion))}")
    elif confusion is not None:
        say_formulas(card.names)
        result(f"confusion: {confusion}")
