"""Name what image files show: classes and probabilities."""

from __future__ import annotations

import argparse
import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from minidl.cli.images import add_constants
from minidl.cli.options import add_config, add_device, add_network, add_switch
from minidl.cli.trained import add_trained, compiled, predictor, say_formulas, say_weights
from minidl.cli.values import path, positive
from minidl.console import result, tell, waiting
from minidl.files.tables import FORMULA, Fields, table_text, write_table
from minidl.ir import ArgumentError
from minidl.predict import Answer, image_files

EXAMPLES = (
    ("minidl predict --run run cat.jpg photos", "class names and probabilities of each image"),
    ("minidl predict --run run --csv found.csv photos", "a row an image, for spreadsheets"),
    ("minidl predict --run run --top 1 --json cat.jpg", "the likeliest class, for programs"),
    (
        "minidl predict --weights vgg16.pth --model vgg16 cat.jpg",
        "with weights of torchvision, which know ImageNet's classes",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        type=path,
        metavar="IMAGE",
        help="JPEG or PNG, or a folder with such, and with folders of such",
    )
    add_config(parser)
    group = parser.add_argument_group("output")
    group.add_argument(
        "--top", type=positive, default=5, metavar="K", help="classes to show, the likeliest first"
    )
    add_switch(group, "--json", "print JSON: a list of files with their classes")
    group.add_argument(
        "--csv",
        type=path,
        metavar="FILE",
        help="write CSV, a row an image: file, class, probability, then the next classes; -: print "
        "it. What a spreadsheet would run as a formula gets ./ or an apostrophe in front",
    )
    weights = add_trained(parser)
    add_constants(weights)
    add_network(parser, model=None, batch=16, classes=None)
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    printed = str(options.csv) == "-"
    if printed and options.json:
        raise ArgumentError("--csv - and --json both print", "give --csv a file")
    if options.csv is not None and not printed:
        _require_writable(options.csv)
    files = image_files(options.files)
    for note in files.notes:
        tell(f"minidl predict: {note}")
    network = predictor(options, min(options.batch_size, len(files.paths)))
    compiled(network)
    shown = not options.json and options.csv is None
    found: list[Answer] = []
    with nullcontext() if shown else waiting(f"predicting {len(files.paths):,} images"):
        for answer in network.predict(files.paths, options.top, _tell):
            if not found:
                say_weights(network, options)
            found.append(answer)
            if shown:
                result(_line(answer))
    if options.json:
        result(json.dumps([_plain(answer) for answer in found], indent=1))
    if options.csv is not None:
        _write(found, min(options.top, network.card.classes), None if printed else options.csv)
    return 0 if len(found) == len(files.paths) else 1


def _require_writable(path: Path) -> None:
    """OSError, before anything is computed, where the folder of a file is none or the file is a
    folder."""
    if path.is_dir() or not path.parent.is_dir():
        wrong = errno.EISDIR if path.is_dir() else errno.ENOENT
        raise OSError(wrong, os.strerror(wrong), str(path))


def _write(found: Sequence[Answer], classes: int, path: Path | None) -> None:
    """A table of answers, to a file or on standard output."""
    rows = list(_rows(found, classes))
    if path is None:
        result(table_text(rows), end="")
        return
    write_table(path, rows)
    result(f"{len(found):,} images: {path}")


def _rows(found: Sequence[Answer], classes: int) -> Iterator[Fields]:
    names = [
        ("class", "probability"),
        *((f"class_{i}", f"probability_{i}") for i in _more(classes)),
    ]
    yield ["file", *(name for pair in names for name in pair)]
    for answer in found:
        pairs = ((guess.name, guess.probability) for guess in answer.guesses)
        yield [_file(answer.name), *(value for pair in pairs for value in pair)]
    say_formulas(guess.name for answer in found for guess in answer.guesses)


def _more(classes: int) -> range:
    return range(2, classes + 1)


def _file(name: str) -> str:
    """A path that no spreadsheet takes for a formula, and that leads to the same file."""
    return os.path.join(os.curdir, name) if name.startswith(FORMULA) else name


def _plain(answer: Answer) -> dict[str, object]:
    """An answer as JSON has it."""
    classes = [{"class": g.name, "probability": g.probability} for g in answer.guesses]
    return {"file": answer.name, "classes": classes}


def _tell(path: Path, error: Exception) -> None:
    """Name an image that cannot be read, on standard error."""
    words = f"{path}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
    tell(f"minidl predict: {' '.join(words.split())}")


def _line(answer: Answer) -> str:
    words = [f"{guess.name} {100 * guess.probability:.2f} %" for guess in answer.guesses]
    return f"{answer.name}: {', '.join(words)}"
