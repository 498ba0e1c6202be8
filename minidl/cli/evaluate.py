"""Measure trained weights on pictures: loss, top-1, top-5."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import minidl as dl
from minidl.cli.about import About
from minidl.cli.options import Group, add_config, add_device, add_network
from minidl.cli.pictures import add_pictures, open_pictures, test_loader
from minidl.cli.trained import add_trained, find, step_of
from minidl.cli.values import seed
from minidl.data import Loader, Source
from minidl.files.tables import write_table
from minidl.ir import ArgumentError, Array
from minidl.train import Evaluation, measure

EXAMPLES = (
    ("minidl eval --run run", "the test pictures of what the run was trained on"),
    ("minidl eval --run run --data-path other --split all", "every picture of another folder"),
    (
        "minidl eval --weights vgg16.pth --model vgg16 --class-names wnids.txt --data-path val",
        "weights of torchvision; folders are matched with the names, a line each",
    ),
    ("minidl eval --run run --confusion confusion.csv", "which class is taken for which"),
)

SPLITS = ("test", "train", "all")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    group = add_trained(parser)
    add_network(parser, model=None, batch=32, classes=None)
    pictures = add_pictures(parser, None)
    pictures.add_argument(
        "--split", choices=SPLITS, default="test", help="which of the pictures to measure on"
    )
    pictures.add_argument(
        "--seed",
        type=seed,
        metavar="N",
        help="of the pictures held out where there is one split only (default: the run's, or 0)",
    )
    add_confusion(group)
    add_device(parser)


def add_confusion(group: Group) -> None:
    group.add_argument(
        "--confusion",
        type=Path,
        metavar="FILE",
        help="write CSV: a row a class, a column for what it is taken for",
    )


def run(options: argparse.Namespace) -> int:
    trained = find(options)
    path = options.data_path or trained.flags.get("data_path")
    if path is None:
        raise ArgumentError("which pictures? --data-path")
    options.seed = trained.flags.get("seed", 0) if options.seed is None else options.seed
    about = trained.about
    splits = open_pictures(path, options.seed, about.image)
    sources = {"test": [splits.test], "train": [splits.train], "all": [splits.train, splits.test]}
    chosen = sources[options.split]
    _require_pictures(about, chosen[0], splits.name)
    labels = labels_of(about, splits.classes, splits.name)
    step = step_of(trained, options, options.batch_size)
    with ExitStack() as stack:
        loaders = [stack.enter_context(test_loader(options, about, s)) for s in chosen]
        report(step, about, splits.name, loaders, options.confusion, labels)
    return 0


def labels_of(about: About, classes: tuple[str, ...], name: str) -> Array:
    """The network's label of each of the pictures' classes, matched by name."""
    if classes == about.names or (not about.names and len(classes) == about.classes):
        return np.arange(len(classes))
    if not about.names:
        raise ArgumentError(
            f"{name} has {len(classes)} classes, the network {about.classes} of which no names "
            "are known: --class-names FILE"
        )
    strange = [c for c in classes if c not in about.names]
    if strange:
        raise ArgumentError(
            f"{name} has classes that the network does not know: {', '.join(strange[:5])}"
        )
    return np.array([about.names.index(c) for c in classes])


def _require_pictures(about: About, source: Source, name: str) -> None:
    """ArgumentError where pictures are not what the network reads."""
    first = source.read(0)
    if isinstance(first, bytes):
        shape, dtype = (*about.image[:2], 3), "uint8"
    elif first.dtype == "uint8":
        shape, dtype = (*about.image[:2], first.shape[2]), "uint8"
    else:
        shape, dtype = first.shape, str(first.dtype)
    if (shape, dtype) != (about.image, about.reads):
        raise ArgumentError(
            f"{name} has pictures {shape} of {dtype}, the network reads {about.image} of "
            f"{about.reads}"
        )


def report(
    step: dl.Step,
    about: About,
    name: str,
    loaders: Sequence[Loader],
    confusion: Path | None,
    labels: Array | None = None,
) -> Evaluation:
    """Measure, print a line, write the confusion matrix where a file is named."""

    def batches() -> Iterator[tuple[Array, ...]]:
        for loader in loaders:
            for images, numbers in loader.epoch(0):
                yield images, numbers if labels is None else labels[numbers]

    found = measure(step, batches())
    print(
        f"{name}  {found.count:,} pictures  loss {found.loss:.4f}  "
        f"top-1 {100 * (found.top1 or 0.0):.2f} %  top-5 {100 * (found.top5 or 0.0):.2f} %"
    )
    if confusion is not None and found.confusion is not None:
        _write_confusion(confusion, about, found.confusion)
    return found


def _write_confusion(path: Path, about: About, matrix: Array) -> None:
    names = [about.name_of(i) for i in range(len(matrix))]
    rows = [[name, *row] for name, row in zip(names, matrix.tolist(), strict=True)]
    write_table(path, [["class", *names], *rows])
    print(f"confusion: {path}")
