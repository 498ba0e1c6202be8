"""What a trained network is worth on images: labels matched by name, measured, tabulated."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import minidl as dl
from minidl.files.tables import write_table
from minidl.ir import ArgumentError, Array
from minidl.ir.calls import called
from minidl.ir.readers import ITERABLE, WORDS
from minidl.predict.card import ModelCard
from minidl.train import Evaluation, measure
from minidl.train.loaders import Feed

SAY_NAMES = "say them with names="
"""Hint where classes cannot be matched."""


@called(readers={"classes": WORDS})
def labels_of(card: ModelCard, classes: Sequence[str], name: str) -> Array:
    """The network's label, int64, of each class of some images, matched by name.

    name: what to call the images in an error. ArgumentError where the network knows no such class.
    """
    classes = tuple(classes)
    if classes == card.names or (not card.names and len(classes) == card.classes):
        return np.arange(len(classes))
    if not card.names:
        raise ArgumentError(
            f"{name} has {len(classes)} classes, the network {card.classes} of which no names "
            "are known",
            SAY_NAMES,
        )
    strange = [c for c in classes if c not in card.names]
    if strange:
        raise ArgumentError(
            f"{name} has classes that the network does not know: {', '.join(strange[:5])}"
        )
    return np.array([card.names.index(c) for c in classes])


@called(readers={"loaders": ITERABLE})
def evaluate(step: dl.Step, loaders: Iterable[Feed], labels: Array | None = None) -> Evaluation:
    """Loss, top-1, top-5 and confusion over an epoch of each loader.

    labels: the network's label of each label that the loaders give; the same where None. Images
    that the loaders could not decode and left out are counted in `left_out`.
    """
    loaders = list(loaders)

    def batches() -> Iterator[tuple[Array, ...]]:
        for loader in loaders:
            for images, numbers in loader.epoch(0):
                yield images, numbers if labels is None else labels[numbers]

    found = measure(step, batches())
    return replace(found, left_out=sum(len(getattr(each, "skipped", ())) for each in loaders))


@called()
def write_confusion(path: str | Path, card: ModelCard, confusion: Array) -> None:
    """Write `Evaluation.confusion` as CSV: a row a class, a column for what it is taken for."""
    names = [card.name_of(i) for i in range(len(confusion))]
    rows = ([name, *row.tolist()] for name, row in zip(names, confusion, strict=True))
    write_table(path, itertools.chain([["class", *names]], rows))
