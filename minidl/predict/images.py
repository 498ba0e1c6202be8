"""How a network sees images: from a source to the card, from both to batches."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal, get_args

from minidl.data import Loader, Source, Splits, Transform, digit_constants, evaluation, training
from minidl.data.recipe import Policy
from minidl.data.source import SOURCE
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.readers import COUNT, SEED, Reader, choice, optional, real, several, whole
from minidl.predict.card import (
    ModelCard,
    Numbers,
    model_image,
    require_of_bytes,
    usual_constants,
)

MOST_WORKERS = 8

LEAVE_SIZE = "leave image= out"
SMALLER_BATCH = "use a smaller batch"
"""Hints."""

Broken = Literal["refuse", "skip"]


@called(
    readers={
        "classes": optional(COUNT),
        "image": optional(COUNT),
        "mean": optional(several(real())),
        "std": optional(several(real(0, above=True))),
    }
)
def card_for(
    model: str,
    splits: Splits,
    *,
    classes: int | None = None,
    image: int | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> ModelCard:
    """What a model becomes for these images, and how it sees them.

    classes: at least those of the data, the default; image: side of the images, by default the
    model's own for files, that of the arrays for arrays of bytes, which become square; arrays of
    floats go in as they are. mean, std: for pixels in [0, 255], ImageNet's by default. Files are
    seen in colour, arrays with the channels that they have.
    """
    count = classes or len(splits.classes)
    if count < len(splits.classes):
        raise ArgumentError(
            f"{splits.name} has {len(splits.classes)} classes, more than the {count} asked for"
        )
    names = splits.classes if count == len(splits.classes) else ()
    first = splits.train.read(0)
    shape = _image(model, image, splits, first)
    held = "" if splits.held_out is None else str(splits.held_out)
    card = ModelCard(model, count, shape, names=names, held_out=held)
    usual: tuple[Numbers | None, Numbers | None] = usual_constants(shape[2])
    if not isinstance(first, bytes) and first.dtype != "uint8":
        # They go in as they are; constants say how an image becomes one of them.
        known = splits.name == "digits"
        centre, spread = digit_constants()
        usual = ((centre,), (spread,)) if known else (None, None)
        card = replace(card, reads="float32")
    else:
        require_of_bytes(mean, std)
    return replace(card, mean=mean or usual[0], std=std or usual[1])


def _image(
    model: str, side: int | None, splits: Splits, first: bytes | Array
) -> tuple[int, int, int]:
    """Height, width and channels that the network is made for."""
    if isinstance(first, bytes):
        own = side or model_image(model)[0]
        return own, own, 3
    height, width, channels = first.shape
    if first.dtype == "uint8":
        own = side or min(height, width)
        return own, own, channels
    if side not in (None, height):
        raise ArgumentError(f"{splits.name} holds floats of {height}x{width}", LEAVE_SIZE)
    return height, width, channels


def require_batch(batch: int, splits: Splits) -> None:
    """ArgumentError where there are fewer images to train on."""
    if batch > len(splits.train):
        raise ArgumentError(
            f"batch {batch} is larger than the {len(splits.train)} training images of "
            f"{splits.name}",
            SMALLER_BATCH,
        )


def require_images(card: ModelCard, source: Source, name: str) -> None:
    """ArgumentError where the images of a source are not what the network reads."""
    first = source.read(0)
    if isinstance(first, bytes):
        shape, dtype = (*card.image[:2], 3), "uint8"
    elif first.dtype == "uint8":
        shape, dtype = (*card.image[:2], first.shape[2]), "uint8"
    else:
        shape, dtype = first.shape, str(first.dtype)
    if (shape, dtype) != (card.image, card.reads):
        raise ArgumentError(
            f"{name} has images {shape} of {dtype}, the network reads {card.image} of {card.reads}"
        )


LOADED: dict[str, Reader] = {
    "source": SOURCE,
    "batch": COUNT,
    "seed": SEED,
    "workers": optional(whole(0)),
    "broken": choice(get_args(Broken)),
}


@called(readers=LOADED)
def training_loader(
    card: ModelCard,
    source: Source,
    batch: int,
    *,
    seed: int = 0,
    workers: int | None = None,
    broken: Broken = "refuse",
    augment: bool = True,
    flip: bool = True,
) -> Loader:
    """Full batches in a new order every epoch, augmented as the network's images are.

    workers: processes that decode, half of the cores for files and none for arrays by default;
    broken: an image that cannot be decoded ends the epoch, or the next one takes its place;
    augment: crops at random, not as they are tested; flip: half of the images, grey ones never.
    """
    side = card.image[0]
    seen = training(side, flip=flip and card.image[2] != 1) if augment else evaluation(side)
    return _loader(card, source, batch, seen, seed, workers, broken, shuffle=True)


@called(readers=LOADED)
def evaluation_loader(
    card: ModelCard,
    source: Source,
    batch: int,
    *,
    workers: int | None = None,
    broken: Broken = "refuse",
) -> Loader:
    """Every image once, in order, as `training_loader` has it; broken: "skip" leaves out an image
    that cannot be decoded, since another one in its place would be counted twice."""
    seen = evaluation(card.image[0])
    policy: Policy = "leave_out" if broken == "skip" else broken
    return _loader(card, source, batch, seen, 0, workers, policy, shuffle=False)


def _loader(
    card: ModelCard,
    source: Source,
    batch: int,
    seen: Transform,
    seed: int,
    workers: int | None,
    broken: Policy,
    shuffle: bool,
) -> Loader:
    return Loader(
        source,
        min(batch, len(source)),
        transform=seen if card.reads == "uint8" else None,
        seed=seed,
        workers=_usual_workers(source) if workers is None else workers,
        shuffle=shuffle,
        drop_last=shuffle,
        broken=broken,
    )


def _usual_workers(source: Source) -> int:
    if os.name != "posix" or not isinstance(source.read(0), bytes):
        return 0
    return min(MOST_WORKERS, max(1, (os.cpu_count() or 1) // 2))
