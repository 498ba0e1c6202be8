"""What is known before the first step: batches that will not fit, and what will be measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import chain, islice, repeat
from typing import Any

import numpy as np

from minidl.data import Loader
from minidl.ir import ArgumentError, Array, ShapeError
from minidl.runtime.step import Step
from minidl.train.history import LABELLED, METRICS, OF_AVERAGES, OF_VALIDATION
from minidl.train.loaders import Feed, InOrder, Repeated
from minidl.train.metrics import require_targets


def require_batches(step: Step, train: Feed) -> None:
    """ShapeError where a loader says that one of its batches is not the step's."""
    batch, count = step.plan.batch, len(train)
    for number, size in enumerate(islice(_sizes(train), count), start=1):
        if size != batch:
            last = number == count and number > 1
            raise ShapeError(
                f"the training loader: batch {number} of {count} has {size} samples, and the step "
                f"was compiled for {batch}",
                "leave out a short last batch (drop_last=True), or compile again for this batch"
                if last
                else f"make batches of {batch}, or compile again for {size}",
            )


def _sizes(feed: Any) -> Iterable[int]:
    """Samples of each batch of an epoch, as far as a loader says it without giving one."""
    source = feed.source if isinstance(feed, Repeated) else feed
    if isinstance(source, Loader):
        return _cut(len(source.recipe.source), source.recipe.batch, source.drop_last)
    if isinstance(source, InOrder):
        return _cut(len(source.images), source.batch, False)
    if isinstance(source, (list, tuple)):
        return [len(batch[-1]) for batch in source if _is_batch(batch)]
    # PyTorch's DataLoader, or its BatchSampler where it was given one.
    cuts = getattr(source, "batch_sampler", None) or source
    said = (getattr(cuts, name, None) for name in ("batch_size", "drop_last", "sampler"))
    match tuple(said):
        case (int(batch), bool(drop_last), Sized() as sampler) if batch > 0:
            return _cut(len(sampler), batch, drop_last)
    return ()


def _cut(count: int, batch: int, drop_last: bool) -> Iterator[int]:
    rest = count % batch
    return chain(repeat(batch, count // batch), [rest] if rest and not drop_last else [])


def require_validation(step: Step, val: Feed) -> None:
    """ShapeError or ArgumentError where batches that are in memory cannot be measured on."""
    prediction = step.inference_plan.graph.outputs[0].shape[1:]
    for number, batch in enumerate(_in_memory(val), start=1):
        try:
            if not _is_batch(batch):
                raise ShapeError(f"expected (inputs..., targets), got {type(batch).__name__}")
            *inputs, targets = batch
            step.require_inputs(*inputs)
            require_targets(np.asarray(targets), (len(inputs[0]), *prediction))
        except (ShapeError, ArgumentError) as error:
            raise error.at(f"the validation loader: batch {number}") from None


def measured(step: Step, val: Feed | None, averaged: bool) -> frozenset[str]:
    """The fields of `Epoch` that a run gives a value, epochs before its first average aside."""
    found = set(METRICS) - set(OF_VALIDATION) - set(OF_AVERAGES)
    if val is not None:
        found |= {*OF_VALIDATION, *(OF_AVERAGES if averaged else ())}
        if not _has_labels(step, val):
            found -= set(LABELLED)
    return frozenset(found)


def _has_labels(step: Step, val: Feed) -> bool:
    """Whether targets are labels: the first that is in memory says it, else the step's."""
    for batch in _in_memory(val):
        return bool(np.issubdtype(np.asarray(batch[-1]).dtype, np.integer))
    return step.plan.graph.inputs[-1].integer


def _in_memory(feed: Feed) -> Iterable[tuple[Array, ...]]:
    """The batches of a feed that holds them all."""
    if isinstance(feed, InOrder):
        return feed.epoch(0)
    if isinstance(feed, Repeated) and isinstance(feed.source, (list, tuple)):
        return feed.source
    return ()


def _is_batch(batch: Any) -> bool:
    return isinstance(batch, (list, tuple)) and len(batch) > 1 and hasattr(batch[-1], "__len__")
