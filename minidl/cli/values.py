"""What a flag's value can be: from words to values."""

from __future__ import annotations

import argparse

from minidl.cards import named
from minidl.ir import ArgumentError, parse_size
from minidl.ir.card import Card


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """A whole number of at least 0."""
    return _at_least(0, text)


def seed(text: str) -> int:
    """What random numbers can start from: a whole number in [0, 2^63)."""
    value = natural(text)
    if value >= 2**63:
        raise argparse.ArgumentTypeError(f"must be below 2^63, got {value}")
    return value


def _at_least(least: int, text: str) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
    return value


def size(text: str) -> int:
    """Bytes: `12GiB`, `800MiB`, `1.5GB`."""
    try:
        return parse_size(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def gpu(text: str) -> Card:
    """A card by its name: `rtx3060`."""
    try:
        return named(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def numbers(text: str) -> tuple[float, ...]:
    """`0.5` or `0.5,0.4,0.3`."""
    return tuple(float(word) for word in text.split(","))


def epochs(text: str) -> tuple[int, ...]:
    """`30,60,80`."""
    return tuple(positive(word) for word in text.split(","))
