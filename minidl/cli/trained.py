"""Weights that were trained before: flags that say where they are, and a step that has them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import minidl as dl
from minidl.cli.about import About, usual_constants
from minidl.cli.options import Group, add_switch, device, model_classes, model_image
from minidl.files.safetensors import read_header
from minidl.interop import load_weights
from minidl.ir import ArgumentError, CheckpointError
from minidl.train import checkpoint

WEIGHTS = "weights.safetensors"
AVERAGED = "weights-averaged.safetensors"
HEADER = "minidl"
"""What a run writes at its end, with PyTorch's names and layouts; the key of their header."""


@dataclass(frozen=True)
class Trained:
    """A network and where its weights are."""

    about: About
    path: Path
    is_run: bool
    """Whether the path is a checkpoint."""
    flags: Mapping[str, Any]
    """Of the run; empty where there is none."""


def add_trained(parser: argparse.ArgumentParser) -> Group:
    """--run, --weights, --model-ema, --class-names; what else there is to know of a network."""
    group = parser.add_argument_group("weights")
    group.add_argument(
        "--run",
        "--resume",
        dest="run_path",
        type=Path,
        metavar="PATH",
        help="a run's folder, of which the last good checkpoint is taken, or a checkpoint; it "
        "knows its network, classes and pictures",
    )
    group.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help=".safetensors, .pth or .npz with torchvision's names; what minidl wrote knows its "
        "network, of others --model says it",
    )
    add_switch(group, "--model-ema", "of a checkpoint, take the averaged weights")
    group.add_argument(
        "--class-names", type=Path, metavar="FILE", help="a name a line (default: the run's)"
    )
    return group


def find(options: argparse.Namespace) -> Trained:
    """What --run or --weights name; flags win over what is written there."""
    if (options.run_path is None) == (options.weights is None):
        raise ArgumentError("which weights? --run DIR, or --weights FILE")
    if options.run_path is not None:
        path = checkpoint.at(options.run_path)
        arguments = checkpoint.read(path)[1].arguments
        about, flags = _written(arguments, path), arguments.get("flags", {})
        return Trained(_overruled(about, options), path, True, flags)
    if options.model_ema:
        raise ArgumentError(f"--model-ema is for --run; a run writes {AVERAGED} for --weights")
    options.weights.open("rb").close()
    arguments = described(options.weights)
    about = _written(arguments, options.weights)
    return Trained(_overruled(about, options), options.weights, False, arguments.get("flags", {}))


def description(about: About, flags: Mapping[str, Any]) -> dict[str, str]:
    """What a file of weights says in its header of the network that has them."""
    kept = {k: flags[k] for k in ("data_path", "seed") if k in flags}
    return {HEADER: json.dumps({"about": about.as_dict(), "flags": kept})}


def described(path: Path) -> dict[str, Any]:
    """What `description` wrote, empty where it did not."""
    try:
        found = json.loads(read_header(path).metadata.get(HEADER, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _written(arguments: Mapping[str, Any], path: Path) -> About | None:
    """What a run says of its network, None where it says nothing."""
    if "about" not in arguments:
        return None
    try:
        return About.of(arguments["about"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: says nothing of use about its network: {error}") from None


def _overruled(about: About | None, options: argparse.Namespace) -> About:
    names = _names(options.class_names)
    if about is None:
        about = _of_flags(options, len(names))
    elif options.model not in (None, about.model):
        raise ArgumentError(f"these are weights of {about.model}, not of {options.model}")
    changes: dict[str, Any] = {"names": names} if names else {}
    if options.image is not None:
        changes["image"] = (options.image, options.image, about.image[2])
    changes |= {k: v for k in ("mean", "std") if (v := getattr(options, k)) is not None}
    return replace(about, **changes)


def _of_flags(options: argparse.Namespace, names: int) -> About:
    """A network that no run describes: the model's own image, ImageNet's constants."""
    if options.model is None:
        raise ArgumentError("which network are the weights of? --model NAME")
    image = model_image(options.model)
    mean, std = usual_constants(image[2])
    classes = options.classes or names or model_classes(options.model)
    return About(options.model, classes, image, mean=mean, std=std)


def _names(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{path}: no text: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())


def step_of(trained: Trained, options: argparse.Namespace, batch: int) -> dl.Step:
    """A step with the weights, to predict with."""
    how = device(options)
    step = dl.compile(trained.about.network(), batch, optimizer=dl.SGD(), **how)
    if trained.is_run:
        load_checkpoint(step, trained.path, options.model_ema)
    else:
        load_file(step, trained.path)
    return step


def load_file(step: dl.Step, path: Path, new_head: bool = False) -> None:
    """`load_weights`, whose advice is in words of the command line."""
    try:
        load_weights(step, path, new_head=new_head)
    except dl.ShapeError as error:
        words = str(error).replace("new_head=True", "--new-head")
        raise dl.ShapeError(f"{words} (--model, --classes, --image)") from None
    except ArgumentError as error:
        words = str(error).partition(", or use strict=False")[0]
        raise ArgumentError(words) from None


def load_checkpoint(step: dl.Step, path: Path, averaged: bool) -> None:
    """A checkpoint's weights, whatever optimizer it had; CheckpointError where they do not fit."""
    variables, state = checkpoint.read(path)
    try:
        if averaged:
            if "ema" not in state.arrays:
                raise ArgumentError(
                    "it has no averaged weights: the run had no --model-ema, or not yet "
                    "--model-ema-steps steps"
                )
            step.load_state_dict(state.arrays["ema"])
            return
        kept = {v.name for v in step.plan.graph.variables if v.saved}
        weights = {name: array for name, array in variables.items() if name in kept}
        if missing := kept - weights.keys():
            raise ArgumentError(f"missing {', '.join(sorted(missing)[:5])}")
        step.load_variables({**step.variables_dict(), **weights})
    except (dl.ShapeError, ArgumentError) as error:
        raise CheckpointError(f"{path}: not this network's: {error}") from None
