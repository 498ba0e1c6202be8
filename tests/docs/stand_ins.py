"""Small files that stand for the data of docs/tutorial.md."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from minidl.data.cifar import CLASSES
from minidl.ir import Array


def image(label: int, height: int = 32, width: int = 32) -> Array:
    """Noise around a colour of the class."""
    colour = np.random.default_rng(label).integers(40, 216, 3)
    noise = np.random.default_rng([label, height, width]).integers(-40, 40, (height, width, 3))
    return (colour + noise).astype(np.uint8)


def jpeg(pixels: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def packed(path: Path, mode: str, members: dict[str, bytes]) -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))


def cifar10_of_jpegs(path: Path) -> None:
    """20 training and 13 test images a class."""
    members = {
        f"{split}/{name}/{i:04}.jpg": jpeg(image(label))
        for split, count in (("train", 20), ("test", 13))
        for label, name in enumerate(CLASSES)
        for i in range(count)
    }
    packed(path, "w:xz", members)


def cifar10_binary(path: Path) -> None:
    """A record a class in each of two files."""
    records = b"".join(
        bytes([label]) + image(label).transpose(2, 0, 1).tobytes() for label in range(10)
    )
    names = ("data_batch_1.bin", "test_batch.bin")
    packed(path, "w:gz", {f"cifar-10-batches-bin/{name}": records for name in names})


def own_images(folder: Path) -> None:
    """Three classes of ten photographs, of several sizes."""
    for label, name in enumerate(("cup", "fork", "plate")):
        (folder / name).mkdir(parents=True)
        for i in range(10):
            pixels = image(20 + label, 60 + 7 * i, 50 + 5 * i)
            (folder / name / f"{i}.jpg").write_bytes(jpeg(pixels))


def new_images(folder: Path) -> None:
    folder.mkdir()
    for label in range(3):
        (folder / f"{label}.jpg").write_bytes(jpeg(image(20 + label, 70, 90)))


def write_all(folder: Path) -> None:
    """Everything that the page opens."""
    cifar10_binary(folder / "cifar-10-binary.tar.gz")
    cifar10_of_jpegs(folder / "cifar10-jpeg.tar.xz")
    own_images(folder / "images")
    new_images(folder / "new")
