"""Weights that were trained before: where they are, what they are of, and how they get into a
step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

import minidl as dl
from minidl.data import HeldOut
from minidl.files.fields import Seed, parse_json, take
from minidl.files.opening import open_file
from minidl.files.safetensors import read_header
from minidl.interop import load_weights
from minidl.ir import ArgumentError, CheckpointError
from minidl.ir.calls import called
from minidl.ir.readers import PATH, choice, either, instance, optional
from minidl.ir.warned import warn_caller
from minidl.predict.card import (
    PUBLISHED,
    ModelCard,
    Numbers,
    model_classes,
    model_image,
    published_constants,
    require_of_bytes,
)
from minidl.predict.imagenet import COUNT, imagenet_names
from minidl.runtime.finite import warn_not_finite
from minidl.train import Checkpoint, checkpoint_file
from minidl.train.best import Which, averaged_in, chosen

WEIGHTS = "weights.safetensors"
AVERAGED = "weights-averaged.safetensors"
HEADER = "minidl"
"""What a run writes at its end, with PyTorch's names and layouts; the key of their header."""

SAY_MODEL = "say it with model="
NEVER_AVERAGED = "train with an Ema, for as many steps as it has between updates at least"
"""Hints."""


@dataclass(frozen=True)
class Trained:
    """A network and where its weights are."""

    card: ModelCard
    path: Path
    is_run: bool = False
    """Whether the path is a checkpoint."""
    averaged: bool = False
    """Of a checkpoint: whether the averaged weights are meant."""
    which: str = ""
    """Which checkpoint of a run it is, in words."""
    flags: Mapping[str, Any] = field(default_factory=dict)
    """How the run was asked for, as the command line has it; empty where nobody knows."""
    assumed: tuple[str, ...] = ()
    """ImageNet's class names, for 1,000 classes of which nobody says any."""

    @classmethod
    def at(
        cls,
        path: str | Path,
        *,
        model: str | None = None,
        classes: int | None = None,
        image: int | None = None,
        mean: Numbers | None = None,
        std: Numbers | None = None,
        names: Sequence[str] = (),
        averaged: bool | None = None,
        checkpoint: Which | None = None,
        run: bool | None = None,
    ) -> Trained:
        """What lies at `path`: a run's folder, a checkpoint, or a file of weights, .safetensors,
        .pth or .npz.

        Of a folder the best checkpoint is taken where the run kept one, else the last good one;
        checkpoint: "best" or "last" says which.

        A run and the weights that it wrote know their network; of others `model` says it, with the
        model's own classes, image and ImageNet's constants where nothing is said here. image: side
        of the images; mean, std: for pixels in [0, 255]; names: of the classes; averaged: take a
        run's averaged weights, by default where the best checkpoint is the best by these; run:
        whether it is a folder or a checkpoint, by default what lies there says it. ArgumentError,
        CheckpointError or OSError say what is not there.
        """
        where = Path(path)
        if checkpoint is not None and not where.is_dir():
            raise ArgumentError(
                f"{where}: this is no run's folder, with a {checkpoint} checkpoint in it",
                "leave checkpoint out",
            )
        is_run = where.is_dir() or _is_checkpoint(where) if run is None else run
        which = ""
        if is_run:
            found, which = chosen(where, checkpoint)
            where, arguments = found.path, found.state.arguments
            averaged = averaged_in(found) if averaged is None else averaged
        else:
            if averaged:
                raise ArgumentError(
                    "averaged weights are a run's",
                    f"take {AVERAGED}, as which it writes them, without averaged",
                )
            open_file(where).close()
            arguments = described(where)
        known, foreign = written(arguments, where), False
        if known is None:
            foreign = not is_run
            known = _of_model(where, model, classes, names)
            if known.model in PUBLISHED and mean is std is None:
                say_constants(where, known.model)
        elif model not in (None, known.model):
            raise ArgumentError(f"{where}: these are weights of {known.model}, not of {model}")
        changes: dict[str, Any] = {"names": tuple(names)} if names else {}
        if image is not None:
            changes["image"] = (image, image, known.image[2])
        if known.reads == "uint8":
            require_of_bytes(mean, std)
        changes |= {k: v for k, v in (("mean", mean), ("std", std)) if v is not None}
        flags, card = _flags(arguments, where), replace(known, **changes)
        assumed = imagenet_names() if foreign and _is_nameless_imagenet(card) else ()
        return cls(card, where, is_run, bool(averaged), which, flags, assumed)

    def load(self, step: dl.Step) -> None:
        """Put the weights into a step of the card's network; ShapeError, ArgumentError or
        CheckpointError, naming the file, where they do not fit: the step is then unchanged."""
        if self.is_run:
            load_checkpoint(step, self.path, self.averaged)
        else:
            load_weights(step, self.path)


def _is_nameless_imagenet(card: ModelCard) -> bool:
    return not card.names and card.classes == COUNT and card.image[2] == 3


def _is_checkpoint(path: Path) -> bool:
    """Whether a file says so in its header."""
    try:
        return checkpoint_file.STATE in read_header(path).metadata
    except ArgumentError:
        return False


@called()
def description(card: ModelCard, flags: Mapping[str, Any]) -> dict[str, str]:
    """What a file of weights says in its header of the network that has them."""
    kept = {k: flags[k] for k in ("data_path", "seed") if k in flags}
    return {HEADER: json.dumps({"about": card.as_dict(), "flags": kept})}


def described(path: Path) -> dict[str, Any]:
    """What `description` wrote, empty where it did not."""
    try:
        metadata = read_header(path).metadata
    except ArgumentError:
        return {}  # a .pth, a .npz, or one that is broken: who reads the weights says so
    if HEADER not in metadata:
        return {}
    try:
        found: dict[str, Any] = take(dict[str, Any], parse_json(metadata[HEADER]), "it")
    except ArgumentError as error:
        raise error.at(f"{path}: the header's {HEADER!r}") from None
    return found


def held_out_by(arguments: Mapping[str, Any], where: Path) -> HeldOut | None:
    """How what a run or weights say of themselves has it that images were held out; None where
    they do not say."""
    card = written(arguments, where)
    if card is None:
        return None
    flags = take(dict[str, Any], arguments.get("flags", {}), f"{where}: its flags")
    seed = flags.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 2**64:
        raise CheckpointError(f"{where}: says nothing of use about its run: its seed is none")
    return card.holding(seed)


def written(arguments: Mapping[str, Any], path: Path) -> ModelCard | None:
    """What a run says of its network, None where it says nothing."""
    if "about" not in arguments:
        return None
    try:
        return ModelCard.of(take(dict[str, Any], arguments["about"], "its card"))
    except ArgumentError as error:
        raise CheckpointError(
            f"{path}: says nothing of use about its network: {error.message}"
        ) from None


@dataclass(frozen=True)
class _Flags:
    """Those of a run's flags that are read here."""

    data_path: str | None = None
    seed: Seed = field(default=Seed(0))


def _flags(arguments: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """How a run was asked for; CheckpointError where that is nothing one could have said."""
    try:
        flags: dict[str, Any] = take(dict[str, Any], arguments.get("flags", {}), "its flags")
        read = {f.name for f in fields(_Flags)} & flags.keys()
        take(_Flags, {name: flags[name] for name in read}, "its flags")
    except ArgumentError as error:
        raise CheckpointError(
            f"{path}: says nothing of use about its run: {error.message}"
        ) from None
    return flags


def _of_model(
    path: Path, model: str | None, classes: int | None, names: Sequence[str]
) -> ModelCard:
    """A network that no run describes: the model's own image, ImageNet's constants."""
    if model is None:
        raise ArgumentError(f"{path}: nobody knows which network these weights are of", SAY_MODEL)
    image = model_image(model)
    mean, std = published_constants(model, image[2])
    count = classes or len(names) or model_classes(model)
    return ModelCard(model, count, image, mean=mean, std=std)


def say_constants(path: Path, model: str) -> None:
    """Warn of constants that are not ImageNet's, though the network is."""
    mean, std = published_constants(model, 3)
    warn_caller(
        f"{path}: images are normalised by mean {mean[0]:g} and std {std[0]:g}, as the {model} "
        "that torchvision publishes wants them (transform_input); mean and std say otherwise",
    )


@called(
    readers={
        "source": either(PATH, instance(Checkpoint)),
        "checkpoint": optional(choice(get_args(Which))),
    }
)
def load_checkpoint(
    step: dl.Step,
    source: Path | Checkpoint,
    averaged: bool = False,
    *,
    checkpoint: Which | None = None,
) -> None:
    """A checkpoint's weights, whatever optimizer it had; CheckpointError where they do not fit.

    checkpoint: which one of a run's folder, "best" or "last"; the best by default, where one was
    kept.
    """
    given = source if isinstance(source, Checkpoint) else chosen(Path(source), checkpoint)[0]
    path, variables, state = given.path, given.variables, given.state
    try:
        if averaged:
            if "ema" not in state.arrays:
                raise ArgumentError("it has no averaged weights", NEVER_AVERAGED)
            step.load_state_dict(state.arrays["ema"])
            warn_not_finite(path, state.arrays["ema"])
            return
        kept = {v.name for v in step.plan.graph.variables if v.saved}
        weights = {name: array for name, array in variables.items() if name in kept}
        if missing := kept - weights.keys():
            raise ArgumentError(f"missing {', '.join(sorted(missing)[:5])}")
        step.load_variables({**step.variables_dict(), **weights})
        warn_not_finite(path, weights)
    except (dl.ShapeError, ArgumentError) as error:
        said = f"{path}: not this network's: {error.message}"
        raise CheckpointError(said, error.hint) from None
