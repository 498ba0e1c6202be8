"""Name what image files show: classes and probabilities."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from minidl.cli.images import add_constants
from minidl.cli.options import add_config, add_device, add_network, add_switch
from minidl.cli.trained import add_trained, predictor
from minidl.cli.values import path, positive
from minidl.console import result, tell
from minidl.predict import Answer

EXAMPLES = (
    ("minidl predict --run run cat.jpg dog.png", "class names and probabilities of each file"),
    ("minidl predict --run run --top 1 --json cat.jpg", "the likeliest class, for programs"),
    (
        "minidl predict --weights vgg16.pth --model vgg16 --class-names names.txt cat.jpg",
        "with weights of torchvision",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=path, metavar="IMAGE", help="JPEG or PNG")
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
    network = predictor(options, min(options.batch_size, len(options.files)))
    found: list[dict[str, Any]] = []
    for answer in network.predict(options.files, options.top, _tell):
        classes = [{"class": g.name, "probability": g.probability} for g in answer.guesses]
        found.append({"file": answer.name, "classes": classes})
        if not options.json:
            result(_line(answer))
    if options.json:
        result(json.dumps(found, indent=1))
    return 0 if len(found) == len(options.files) else 1


def _tell(path: Path, error: Exception) -> None:
    """Name an image that cannot be read, on standard error."""
    words = f"{path}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
    tell(f"minidl predict: {' '.join(words.split())}")


def _line(answer: Answer) -> str:
    words = [f"{guess.name} {100 * guess.probability:.2f} %" for guess in answer.guesses]
    return f"{answer.name}: {', '.join(words)}"
