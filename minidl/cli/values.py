"""What a flag's value can be: from words to values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from minidl import options
from minidl.cards import named
from minidl.files.words import shown
from minidl.ir import ArgumentError, parse_size
from minidl.ir.readers import SEED, UnfitError

Value = TypeVar("Value")


def of_word(read: Callable[[str], Value]) -> Callable[[str], Value]:
    """A reader whose errors argparse prints as they are."""

    def value(word: str) -> Value:
        try:
            return read(word)
        except ArgumentError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    value.__name__ = read.__name__
    return value


positive = of_word(options.positive)
"""A whole number of at least 1."""

size = of_word(parse_size)
"""Bytes: `12GiB`, `800MiB`, `1.5GB`."""

gpu = of_word(named)
"""A card by its name: `rtx3060`."""


def natural(text: str) -> int:
    """A whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {value}")
    return value


def seed(text: str) -> int:
    """What random numbers can start from: a whole number in [0, 2^64)."""
    try:
        return int(SEED.read(int(text)))
    except (UnfitError, ValueError):
        raise argparse.ArgumentTypeError(f"must be {SEED.what}, got {shown(text)}") from None


def path(text: str) -> Path:
    """A file or folder; `~` is the user's home, also where no shell has read it."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def place(text: str) -> str:
    """The same as a word, for what may be a name too: `digits`, `auto`."""
    return str(path(text)) if text.startswith("~") else text


def numbers(text: str) -> tuple[float, ...]:
    """`0.5` or `0.5,0.4,0.3`."""
    return tuple(float(word) for word in text.split(","))


def epochs(text: str) -> tuple[int, ...]:
    """`30,60,80`."""
    return tuple(positive(word) for word in text.split(","))
