"""Flags that say where trained weights are, and the network that they stand for."""

from __future__ import annotations

import argparse
from pathlib import Path

from minidl.cli.options import Group, add_switch, device
from minidl.cli.values import path
from minidl.files.opening import read_text
from minidl.ir import ArgumentError
from minidl.predict import Predictor, Trained
from minidl.predict.trained import AVERAGED


def add_trained(parser: argparse.ArgumentParser) -> Group:
    """--run, --weights, --model-ema, --class-names; what else there is to know of a network."""
    group = parser.add_argument_group("weights")
    group.add_argument(
        "--run",
        "--resume",
        dest="run_path",
        type=path,
        metavar="PATH",
        help="a run's folder, of which the last good checkpoint is taken, or a checkpoint; it "
        "knows its network, classes and images",
    )
    group.add_argument(
        "--weights",
        type=path,
        metavar="FILE",
        help=".safetensors, .pth or .npz with torchvision's names; what minidl wrote knows its "
        "network, of others --model says it",
    )
    add_switch(group, "--model-ema", "of a checkpoint, take the averaged weights")
    group.add_argument(
        "--class-names", type=path, metavar="FILE", help="a name a line (default: the run's)"
    )
    return group


def predictor(options: argparse.Namespace, batch: int) -> Predictor:
    """What --run or --weights name; flags win over what is written there."""
    if (options.run_path is None) == (options.weights is None):
        raise ArgumentError("which weights?", "--run DIR, or --weights FILE")
    if options.model_ema and options.run_path is None:
        raise ArgumentError("--model-ema is for --run", f"a run writes {AVERAGED} for --weights")
    found = Trained.at(
        options.weights if options.run_path is None else options.run_path,
        model=options.model,
        classes=options.classes,
        image=options.image,
        mean=options.mean,
        std=options.std,
        names=_names(options.class_names),
        averaged=options.model_ema,
        run=options.run_path is not None,
    )
    return Predictor(found, batch=batch, **device(options))


def _names(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    lines = read_text(path).splitlines()
    return tuple(line.strip() for line in lines if line.strip())
