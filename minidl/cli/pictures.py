"""Flags of the pictures, and what they stand for: sources, how a network sees them, loaders."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from minidl.cli.about import About, Numbers, usual_constants
from minidl.cli.options import Group, add_switch, model_image
from minidl.cli.values import natural, numbers
from minidl.data import (
    Loader,
    Source,
    Splits,
    Transform,
    digit_constants,
    evaluation,
    open_data,
    training,
)
from minidl.data.opening import UNDERSTOOD
from minidl.ir import ArgumentError, Array

DIGITS = 64
"""Side of the bundled digits where no flag says otherwise."""
MOST_WORKERS = 8


def add_pictures(parser: argparse.ArgumentParser, path: str | None) -> Group:
    """--data-path, -j, --broken, --mean, --std."""
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--data-path",
        default=path,
        metavar="PATH",
        help="digits (bundled); or a folder or tar with <class>/*.jpg, in train and val or test "
        "folders or not; or CIFAR-10, a folder of MNIST, a .npz"
        + ("" if path else " (default: what the run was trained on)"),
    )
    group.add_argument(
        "-j",
        "--workers",
        type=natural,
        metavar="N",
        help="processes that decode; 0: none but this one (default: half of the cores for "
        f"pictures in files, at most {MOST_WORKERS}; 0 for arrays)",
    )
    group.add_argument(
        "--broken",
        choices=["refuse", "skip"],
        default="refuse",
        help="a picture that cannot be decoded ends the run, or the next one takes its place",
    )
    add_constants(group)
    return group


def add_constants(group: Group) -> None:
    group.add_argument(
        "--mean",
        type=numbers,
        metavar="X,X,X",
        help="of pixels in [0, 255], for all channels or each (default: ImageNet's)",
    )
    group.add_argument(
        "--std",
        type=numbers,
        metavar="X,X,X",
        help="standard deviation of pixels (default: ImageNet's)",
    )


def add_augmentation(group: Group) -> None:
    add_switch(group, "--augment", "train on crops of the pictures, not as they are tested", True)
    add_switch(group, "--flip", "mirror half of the pictures; grey ones never are", True)


def open_pictures(path: str, seed: int, image: tuple[int, int, int]) -> Splits:
    """What lies at --data-path; the digits in the size `image`."""
    try:
        return open_data(path, seed=seed, image=image)
    except ArgumentError as error:
        if UNDERSTOOD not in str(error):
            raise
        words = str(error).replace(f"; {UNDERSTOOD}", "")
        raise ArgumentError(f"{words}: --help says what --data-path can be") from None


def digits_image(options: argparse.Namespace) -> tuple[int, int, int]:
    """The size that the digits get: --image, and the model's channels."""
    side = options.image or DIGITS
    return side, side, model_image(options.model)[2]


def about_pictures(options: argparse.Namespace, splits: Splits) -> About:
    """What --model becomes for these pictures, and how it sees them."""
    classes = options.classes or len(splits.classes)
    if classes < len(splits.classes):
        raise ArgumentError(f"--classes {classes}: {splits.name} has {len(splits.classes)}")
    names = splits.classes if classes == len(splits.classes) else ()
    first = splits.train.read(0)
    image = _image(options, splits, first)
    about = About(options.model, classes, image, names=names)
    mean: Numbers | None
    std: Numbers | None
    mean, std = usual_constants(image[2])
    if not isinstance(first, bytes) and first.dtype != "uint8":
        # They go in as they are; constants say how a picture becomes one of them.
        known = splits.name == "digits"
        mean, std = ((c,) if known else None for c in digit_constants())
        about = replace(about, reads="float32")
    return replace(about, mean=options.mean or mean, std=options.std or std)


def _image(
    options: argparse.Namespace, splits: Splits, first: bytes | Array
) -> tuple[int, int, int]:
    """Height, width and channels: --image, or the arrays' own, or the model's."""
    if isinstance(first, bytes):
        side = options.image or model_image(options.model)[0]
        return side, side, 3
    height, width, channels = first.shape
    if first.dtype == "uint8":
        side = options.image or min(height, width)
        return side, side, channels
    if options.image not in (None, height):
        raise ArgumentError(f"{splits.name} holds floats of {height}x{width}: leave --image out")
    return height, width, channels


def require_batch(batch: int, splits: Splits) -> None:
    if batch > len(splits.train):
        raise ArgumentError(
            f"batch {batch} is larger than the {len(splits.train)} training pictures of "
            f"{splits.name}: use a smaller batch"
        )


def training_loader(options: argparse.Namespace, about: About, source: Source) -> Loader:
    """Full batches in a new order every epoch, augmented."""
    side = about.image[0]
    flip = options.flip and about.image[2] != 1
    seen = training(side, flip) if options.augment else evaluation(side)
    return _loader(options, about, source, seen, shuffle=True)


def test_loader(options: argparse.Namespace, about: About, source: Source) -> Loader:
    """Every picture once, in order."""
    return _loader(options, about, source, evaluation(about.image[0]), shuffle=False)


def _loader(
    options: argparse.Namespace, about: About, source: Source, seen: Transform, shuffle: bool
) -> Loader:
    return Loader(
        source,
        min(options.batch_size, len(source)),
        seen if about.reads == "uint8" else None,
        seed=options.seed,
        workers=_workers(options, source),
        shuffle=shuffle,
        drop_last=shuffle,
        broken=options.broken,
    )


def _workers(options: argparse.Namespace, source: Source) -> int:
    if options.workers is not None:
        return int(options.workers)
    if os.name != "posix" or not isinstance(source.read(0), bytes):
        return 0
    return min(MOST_WORKERS, max(1, (os.cpu_count() or 1) // 2))
