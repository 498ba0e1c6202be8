"""The bundled data: handwritten digits.

E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning
Repository, 1998, doi:10.24432/C50P49, licence CC BY 4.0; its test set of 1,797 images of 8x8
pixels with values 0 to 16, in the file that scikit-learn ships.
"""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np

from minidl.data.dataset import Dataset
from minidl.ir import Array
from minidl.ir.calls import called
from minidl.ir.readers import COUNT, several

IMAGE = several(COUNT, 3)
"""Height, width and channels."""

TEST_SHARE = 5
"""One image in five is kept for the test."""

WHITE = 16
"""The largest pixel value, full ink."""


@called(
    "write digits(image=(32, 32, 1)), nothing is downloaded",
    {"image": IMAGE},
    root="",
    train="",
    download="",
)
def digits(image: tuple[int, int, int] = (64, 64, 3)) -> Dataset:
    """1,438 training and 359 test images, scaled to `image` by bilinear interpolation, grey
    repeated over the channels, normalised to mean 0 and standard deviation 1."""
    table = _read()
    grey = table[:, :64].reshape(-1, 8, 8).astype(np.float32)
    grey = _resized(_resized((grey - grey.mean()) / grey.std(), 1, image[0]), 2, image[1])
    images = np.repeat(grey[..., np.newaxis], image[2], axis=3)
    labels = table[:, 64].astype(np.int64)
    order = np.random.Generator(np.random.Philox(key=[1998, 0])).permutation(len(images))
    test, train = order[: len(order) // TEST_SHARE], order[len(order) // TEST_SHARE :]
    classes = tuple(map(str, range(10)))
    return Dataset("digits", classes, images[train], labels[train], images[test], labels[test])


@called()
def digit_constants() -> tuple[float, float]:
    """Mean and standard deviation by which `digits` normalises, for pixels in [0, 255]: white ink
    on black paper."""
    grey = _read()[:, :64].astype(np.float32)
    return float(grey.mean()) * 255 / WHITE, float(grey.std()) * 255 / WHITE


def _read() -> Array:
    raw = resources.files("minidl.data").joinpath("digits.csv.gz").read_bytes()
    text = gzip.decompress(raw).decode("ascii")
    return np.array([line.split(",") for line in text.splitlines()], np.float32).astype(np.int64)


def _resized(images: Array, axis: int, size: int) -> Array:
    """Bilinear along one axis, pixel centres aligned, edges repeated."""
    old = images.shape[axis]
    centre = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.minimum(centre.astype(np.int64), max(0, old - 2))
    share = (centre - low).astype(np.float32)
    share = share.reshape([-1 if i == axis else 1 for i in range(images.ndim)])
    high = np.minimum(low + 1, old - 1)
    mixed: Array = images.take(low, axis) * (1 - share) + images.take(high, axis) * share
    return mixed
