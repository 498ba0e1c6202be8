"""ImageNet's class names, for published weights, which say none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from minidl.files.opening import read_text

COUNT = 1000


@cache
def imagenet_names() -> tuple[str, ...]:
    """The 1,000 names in the order of the outputs; imagenet_classes.txt says whose they are."""
    lines = read_text(Path(__file__).with_name("imagenet_classes.txt")).splitlines()
    return tuple(line for line in lines if not line.startswith("#"))
