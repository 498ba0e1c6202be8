"""Flags of the images, and what they stand for."""

from __future__ import annotations

import argparse
from typing import Any

from minidl.cli.options import Group, add_switch
from minidl.cli.values import natural, numbers, place
from minidl.predict import model_image
from minidl.predict.images import MOST_WORKERS

DIGITS = 64
"""Side of the bundled digits where no flag says otherwise."""


def add_images(parser: argparse.ArgumentParser, path: str | None) -> Group:
    """--data-path, -j, --broken, --mean, --std."""
    group = parser.add_argument_group("images")
    group.add_argument(
        "--data-path",
        type=place,
        default=path,
        metavar="PATH",
        help="digits (bundled); or a folder, tar or zip with <class>/*.jpg, in train and val or "
        "test folders or not; or CIFAR-10, a folder of MNIST, a .npz"
        + ("" if path else " (default: what the run was trained on)"),
    )
    group.add_argument(
        "-j",
        "--workers",
        type=natural,
        metavar="N",
        help="processes that decode; 0: none but this one (default: half of the cores for "
        f"images in files, at most {MOST_WORKERS}; 0 for arrays)",
    )
    group.add_argument(
        "--broken",
        choices=["refuse", "skip"],
        default="refuse",
        help="an image that cannot be decoded ends the run, or the next one takes its place; where "
        "images are measured it is left out",
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
    add_switch(group, "--augment", "train on crops of the images, not as they are tested", True)
    add_switch(group, "--flip", "mirror half of the images; grey ones never are", True)


def digits_image(options: argparse.Namespace) -> tuple[int, int, int]:
    """The size that the digits get: --image, and the model's channels."""
    side = options.image or DIGITS
    return side, side, model_image(options.model)[2]


def seeing(options: argparse.Namespace) -> dict[str, Any]:
    """The flags that say what a model becomes for some images, for `card_for`."""
    return {name: getattr(options, name) for name in ("classes", "image", "mean", "std")}


def loading(options: argparse.Namespace) -> dict[str, Any]:
    """-j and --broken, for loaders."""
    return {"workers": options.workers, "broken": options.broken}
