"""Images, tars and sources for the tests."""

from __future__ import annotations

import io
import os
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minidl.data import Arrays
from minidl.ir import Array


def pixels(height: int, width: int, seed: int = 0) -> Array:
    """Smooth colours, so that JPEG keeps them."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin((x * (c + 1) + y * (3 - c)) / 9 + seed + c) for c in range(3)]
    return (127 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def encoded(image: Array | Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def folder_of(path: Path, classes: int = 3, each: int = 4, size: int = 40) -> Path:
    """JPEG and PNG files of several sizes, `c0/0.jpg` and so on."""
    for label in range(classes):
        (path / f"c{label}").mkdir(parents=True)
        for i in range(each):
            kind, end = (("JPEG", "jpg"), ("PNG", "PNG"), ("JPEG", "JpEg"))[i % 3]
            image = pixels(size + 7 * i, size + 5 * label, 10 * label + i)
            (path / f"c{label}" / f"{i}.{end}").write_bytes(encoded(image, kind))
    return path


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return path


def real_data(name: str) -> Path:
    """A data set that is no part of the project; skips where it is not at hand."""
    if "MINIDL_DATA" not in os.environ:
        pytest.skip("MINIDL_DATA is not set")
    return Path(os.environ["MINIDL_DATA"]) / name


def small(count: int = 40, side: int = 8) -> Arrays:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)
    return Arrays(images, np.arange(count) % 5)


class Deadly(Arrays):
    """Ends the process that reads image 7."""

    def read(self, index: int) -> Array:
        if index == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index)


class Faulty(Arrays):
    """Raises at image 7."""

    def read(self, index: int) -> Array:
        if index == 7:
            raise RuntimeError("seven is not to be had")
        return super().read(index)


class Stuck(Arrays):
    """Sleeps at image 7."""

    def read(self, index: int) -> Array:
        if index == 7:
            time.sleep(1000)
        return super().read(index)
