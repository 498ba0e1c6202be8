"""The table of cases, and the small network, step and images that they share."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import minidl as dl
from minidl.ir import Array

Case = Callable[[pytest.MonkeyPatch], object]
"""Does what raises the error; the current folder is an empty one."""

CASES: dict[str, list[Case]] = {}
"""By heading of the page, in the order of its messages."""


def raises(heading: str) -> Callable[[Case], Case]:
    """The case belongs to the section of that heading."""

    def add(case: Case) -> Case:
        CASES.setdefault(heading, []).append(case)
        return case

    return add


def network(classes: int = 10) -> dl.Sequential:
    return dl.Sequential(
        dl.Input((8, 8, 3)), dl.Conv2d(4, 3), dl.ReLU(), dl.Flatten(), dl.Linear(classes)
    )


def compiled(classes: int = 10, **how: Any) -> dl.Step:
    return dl.compile(network(classes), batch=4, **how)


def images(count: int = 4) -> Array:
    return np.random.default_rng(0).normal(size=(count, 8, 8, 3)).astype(np.float32)


def labels(count: int = 4) -> Array:
    return np.arange(count) % 10


def jpeg(width: int = 8, height: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (10, 100, 200)).save(file, "JPEG")
    return file.getvalue()


def put(path: str, content: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def tar(path: str, **members: bytes) -> None:
    """A plain tar of `<class>/0.jpg`, by class."""
    with tarfile.open(path, "w") as file:
        for name, raw in members.items():
            info = tarfile.TarInfo(f"{name}/0.jpg")
            info.size = len(raw)
            file.addfile(info, io.BytesIO(raw))
