"""Predictor: a trained network to ask, to measure, and to hand to other programs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl as dl
from minidl.data import BrokenImageError, Splits, open_data
from minidl.data.folder import read_image
from minidl.interop import export_onnx, save_weights
from minidl.ir import ArgumentError, Array, ShapeError
from minidl.ir.calls import called
from minidl.ir.printed import never_raises
from minidl.ir.readers import ANYTHING, COUNT, PATHS
from minidl.ir.warned import warn_caller
from minidl.predict.card import ModelCard
from minidl.predict.evaluating import evaluate, labels_of
from minidl.predict.files import image_files
from minidl.predict.images import Broken, evaluation_loader, require_images
from minidl.predict.trained import Trained, description
from minidl.train import Evaluation
from minidl.train.best import Which

SAY_DATA = "say it with path="
"""Hint where nobody knows which images are meant."""

TRAINABLE = 2
"""Images of which every network can train: batch normalization needs two values a channel. A step
trains too, and one of these answers for one image all the same."""

Unreadable = Callable[[Path, Exception], None]


class Guess(NamedTuple):
    """A class and how likely it is."""

    label: int
    name: str
    probability: float
    """In [0, 1]."""


@dataclass(frozen=True)
class Answer:
    """What the network says of one image."""

    name: str
    """The file's."""
    guesses: tuple[Guess, ...]
    """The likeliest first."""

    @property
    def best(self) -> Guess:
        return self.guesses[0]


@called('write Predictor.load("run")', {"batch": COUNT, "how": ANYTHING})
class Predictor:
    """A trained network that is asked.

    batch: images at a time; how: what `dl.compile` takes, device, precision and the like. The
    network is compiled, and its weights are read, when they are needed first.
    """

    def __init__(self, weights: Trained, *, batch: int = 16, **how: Any) -> None:
        self.trained, self.batch, self.how = weights, batch, how

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        batch: int = 16,
        model: str | None = None,
        classes: int | None = None,
        image: int | None = None,
        names: Sequence[str] = (),
        averaged: bool | None = None,
        checkpoint: Which | None = None,
        **how: Any,
    ) -> Predictor:
        """Of a run's folder, the best checkpoint where one was kept, of a checkpoint, or a file of
        weights; see `Trained.at`."""
        found = Trained.at(
            path,
            model=model,
            classes=classes,
            image=image,
            names=names,
            averaged=averaged,
            checkpoint=checkpoint,
        )
        return cls(found, batch=batch, **how)

    @never_raises
    def __repr__(self) -> str:
        card = self.card
        what = f"images {'x'.join(map(str, card.image))}, {card.classes:,} classes"
        return f"<Predictor: {card.model}, {what}, {self.trained.path}>"

    @property
    def card(self) -> ModelCard:
        return self.trained.card

    @cached_property
    def network(self) -> dl.Network:
        return self.card.network()

    @cached_property
    def step(self) -> dl.Step:
        """The compiled step, with the weights."""
        try:
            step = self._compiled(self.batch)
        except ShapeError:
            if self.batch >= TRAINABLE:
                raise
            step = self._compiled(TRAINABLE)
        self.trained.load(step)
        return step

    def _compiled(self, batch: int) -> dl.Step:
        return dl.compile(self.network, batch, optimizer=dl.SGD(), **self.how)

    def __getstate__(self) -> dict[str, Any]:
        """A copy compiles a step of its own when it needs one."""
        return {name: value for name, value in vars(self).items() if name != "step"}

    # -- ask -------------------------------------------------------------------------------

    def probabilities(self, images: Array) -> Array:
        """(N, classes) float64 of images (N, H, W, C) as the network reads them; see
        `ModelCard.see`."""
        return softmax(self.step.predict(images))

    def predict(
        self,
        paths: Iterable[str | Path],
        top: int = 5,
        unreadable: Unreadable | None = None,
    ) -> Iterator[Answer]:
        """The `top` likeliest classes of each JPEG or PNG, in order; of a folder, of all images in
        it, see `image_files`. A UserWarning says what was passed over there.

        unreadable: is told of a file that cannot be read or decoded, which is then passed over; an
        error, BrokenImageError or OSError, where there is none.
        """
        step, images = self.step, self._readable(map(Path, PATHS.take(paths, "paths")), unreadable)
        if self.trained.assumed:
            warn_caller(
                f"{self.trained.path}: the class names are assumed, ImageNet's 1,000 as "
                "torchvision orders them; names (--class-names) say others"
            )
        while chunk := list(itertools.islice(images, self.batch)):
            rows = softmax(step.predict(np.stack([image for _, image in chunk])))
            for (path, _), row in zip(chunk, rows, strict=True):
                yield Answer(str(path), self._top(row, top))

    def _readable(
        self, paths: Iterable[Path], unreadable: Unreadable | None
    ) -> Iterator[tuple[Path, Array]]:
        for path in itertools.chain.from_iterable(map(_files, paths)):
            try:
                yield path, self.card.see(read_image(path), str(path))
            except (BrokenImageError, OSError) as error:
                if unreadable is None:
                    raise
                unreadable(path, error)

    def _top(self, row: Array, count: int) -> tuple[Guess, ...]:
        order = np.argsort(-row, kind="stable")[:count]
        return tuple(Guess(i, self._name_of(i), float(row[i])) for i in order.tolist())

    def _name_of(self, label: int) -> str:
        """What a class is called; its number where nobody knows, nor can assume."""
        assumed = self.trained.assumed
        return assumed[label] if assumed else self.card.name_of(label)

    # -- measure ---------------------------------------------------------------------------

    def images(self, path: str | Path | None = None, seed: int | None = None) -> Splits:
        """The images at `path`, by default those of the run; `seed` draws the ones that are held
        out where there is one split only, by default as the run did."""
        flags = self.trained.flags
        where = flags.get("data_path") if path is None else path
        if where is None:
            raise ArgumentError("nobody knows which images are meant", SAY_DATA)
        held = self.card.holding(flags.get("seed", 0))
        held = held if seed is None else replace(held, seed=seed)
        return open_data(where, image=self.card.image, held=held)

    def evaluate(
        self,
        images: Splits,
        split: str | None = None,
        *,
        workers: int | None = None,
        broken: Broken = "refuse",
    ) -> Evaluation:
        """Loss, top-1, top-5 and confusion on a split of images; classes are matched by name.

        split: a name of `images.by_name`, or all; by default what `images.unseen` names.
        workers, broken: see `minidl.predict.training_loader`. ArgumentError where the images or
        their classes are not the network's.
        """
        chosen = images.chosen(split or images.unseen)
        require_images(self.card, chosen[0], images.name)
        labels = labels_of(self.card, images.classes, images.name)
        step = self.step
        with ExitStack() as stack:
            loaders = [
                evaluation_loader(self.card, source, self.batch, workers=workers, broken=broken)
                for source in chosen
            ]
            return evaluate(step, [stack.enter_context(each) for each in loaders], labels)

    # -- hand on ---------------------------------------------------------------------------

    def export_onnx(self, path: str | Path, **how: Any) -> None:
        """Write the network and its weights as ONNX; how: see `minidl.interop.export_onnx`."""
        export_onnx(self.network, self.step, path, **how)

    def save_weights(self, path: str | Path) -> None:
        """Write .safetensors with PyTorch's names and layouts; its header has the card."""
        header = description(self.card, self.trained.flags)
        save_weights(path, self.step.state_dict(), header)


def _files(path: Path) -> tuple[Path, ...]:
    """A file, or the images in a folder."""
    found = image_files([path])
    for note in found.notes:
        warn_caller(note)
    return found.paths


@called()
def softmax(outputs: Array) -> Array:
    """Each row of (N, K) as probabilities, in float64."""
    x = outputs.astype(np.float64)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    rows: Array = x / x.sum(axis=1, keepdims=True)
    return rows
