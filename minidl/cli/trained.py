"""Flags that say where trained weights are, and the network that they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import minidl as dl
from minidl.cli.options import Group, add_switch, device, planning_of
from minidl.cli.values import path
from minidl.console import tell, waiting
from minidl.data.source import few
from minidl.files.opening import read_text
from minidl.files.tables import runs
from minidl.ir import ArgumentError
from minidl.predict import Predictor, Trained
from minidl.predict.trained import AVERAGED
from minidl.train.checkpoint import BEST


def add_trained(parser: argparse.ArgumentParser) -> Group:
    """--run, --weights, --model-ema, --class-names; what else there is to know of a network."""
    group = parser.add_argument_group("weights")
    group.add_argument(
        "--run",
        "--resume",
        dest="run_path",
        type=path,
        metavar="PATH",
        help="a run's folder or one of its checkpoints; it knows its network, classes and images",
    )
    group.add_argument(
        "--checkpoint",
        choices=["best", "last"],
        help="of a run's folder (default: the best where one was kept, else the last good one)",
    )
    group.add_argument(
        "--weights",
        type=path,
        metavar="FILE",
        help=".safetensors, .pth or .npz with torchvision's names; what minidl wrote knows its "
        "network, of others --model says it",
    )
    add_switch(
        group,
        "--model-ema",
        "of a checkpoint, take the averaged weights (default: where it is the best by these)",
        None,
    )
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
    weights = options.weights if options.run_path is None else options.run_path
    names = _names(options.class_names)
    with waiting(f"reading {weights}"):
        found = _found(options, weights, names)
    return Predictor(found, batch=batch, **device(options))


def say_formulas(names: Iterable[str]) -> None:
    """The class names that a table has otherwise, so that no spreadsheet runs them."""
    if changed := sorted({name for name in names if runs(name)}):
        tell(f"minidl: written with ' in front, since formulas begin so: {few(changed)}")


def _found(options: argparse.Namespace, weights: Path, names: tuple[str, ...]) -> Trained:
    return Trained.at(
        weights,
        model=options.model,
        classes=options.classes,
        image=options.image,
        mean=options.mean,
        std=options.std,
        names=names,
        averaged=options.model_ema,
        checkpoint=options.checkpoint,
        run=options.run_path is not None,
    )


def say_weights(network: Predictor, options: argparse.Namespace) -> None:
    """Which checkpoint of a run's folder it is, once it was of use, and how to have the other."""
    found = network.trained
    if found.which and options.run_path.is_dir():
        best = found.path.name == BEST and options.checkpoint is None
        other = "; --checkpoint last takes the last" if best else ""
        tell(f"minidl: weights of {found.which}{other}")


def compiled(network: Predictor) -> dl.Step:
    """Its step, with the weights."""
    with waiting(planning_of(network.card.model, network.batch, network.how["device"])):
        return network.step


def _names(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    lines = read_text(path).splitlines()
    return tuple(line.strip() for line in lines if line.strip())
