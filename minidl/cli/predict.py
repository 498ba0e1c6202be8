"""Name what picture files show: classes and probabilities."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minidl.cli.about import About
from minidl.cli.options import add_config, add_device, add_network, add_switch
from minidl.cli.pictures import add_constants
from minidl.cli.trained import add_trained, find, step_of
from minidl.cli.values import positive
from minidl.data import BrokenPictureError
from minidl.ir import Array

EXAMPLES = (
    ("minidl predict --run run cat.jpg dog.png", "class names and probabilities of each file"),
    ("minidl predict --run run --top 1 --json cat.jpg", "the likeliest class, for programs"),
    (
        "minidl predict --weights vgg16.pth --model vgg16 --class-names names.txt cat.jpg",
        "with weights of torchvision",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="PICTURE", help="JPEG or PNG")
    add_config(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--top", type=positive, default=5, metavar="K", help="classes to show, the likeliest first"
    )
    add_switch(group, "--json", "print JSON: a list of files with their classes")
    weights = add_trained(parser)
    add_constants(weights)
    add_network(parser, model=None, batch=16, classes=None)
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    trained = find(options)
    batch = min(options.batch_size, len(options.files))
    step = step_of(trained, options, batch)
    found: list[dict[str, Any]] = []
    pictures = _readable(trained.about, options.files)
    while chunk := [pair for _, pair in zip(range(batch), pictures, strict=False)]:
        outputs = step.predict(np.stack([picture for _, picture in chunk]))
        for (path, _), row in zip(chunk, softmax(outputs), strict=True):
            found.append({"file": str(path), "classes": _top(trained.about, row, options.top)})
            if not options.json:
                print(_line(found[-1]))
    if options.json:
        print(json.dumps(found, indent=1))
    return 0 if len(found) == len(options.files) else 1


def _readable(about: About, paths: list[Path]) -> Iterator[tuple[Path, Array]]:
    """The pictures that can be read; others are named on standard error."""
    for path in paths:
        try:
            yield path, about.see(path.read_bytes(), str(path))
        except BrokenPictureError as error:
            print(f"minidl predict: {' '.join(str(error).split())}", file=sys.stderr)
        except OSError as error:
            print(f"minidl predict: {path}: {error.strerror or error}", file=sys.stderr)


def softmax(outputs: Array) -> Array:
    """Each row of (N, K) as probabilities, in float64."""
    x = outputs.astype(np.float64)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    rows: Array = x / x.sum(axis=1, keepdims=True)
    return rows


def _top(about: About, row: Array, count: int) -> list[dict[str, Any]]:
    order = np.argsort(-row, kind="stable")[:count]
    return [{"class": about.name_of(i), "probability": float(row[i])} for i in order.tolist()]


def _line(found: dict[str, Any]) -> str:
    words = [f"{c['class']} {100 * c['probability']:.2f} %" for c in found["classes"]]
    return f"{found['file']}: {', '.join(words)}"
