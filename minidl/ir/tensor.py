"""Tensor: a value of one training step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np

Shape = tuple[int, ...]

Box = tuple[tuple[int, int], ...]
"""For each axis the half-open range of a part's indices."""

Kind = Literal[
    "parameter",  # trained; lives for ever
    "state",  # momentum, running statistics, step counter, learning rate; lives for ever
    "input",  # images and labels; filled before op 0
    "activation",  # written by forward
    "gradient",  # dLoss / dActivation, written by dgrad
    "weight_gradient",  # dLoss / dParameter, written by wgrad
    "mask",  # what forward keeps for backward that is no activation: argmax, mean
    "scratch",  # an op's own workspace, dead before and after it
]

PERSISTENT: tuple[Kind, ...] = ("parameter", "state")


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """Shape, dtype and kind of a value; it has no bytes until a plan gives it an offset.

    Compared and hashed by identity. Images are NHWC, filters KRSC; `shape` includes the batch.
    `view_of` names the tensor whose bytes these are: all of them in another shape, or a `box`.
    """

    name: str
    shape: Shape
    dtype: str
    kind: Kind
    view_of: Tensor | None = None
    box: Box | None = None
    """The elements of `view_of` that these are, a range for each axis; None: all of them."""
    size: int = field(init=False, repr=False)
    """Number of elements."""
    nbytes: int = field(init=False, repr=False)
    _root: Tensor | None = field(init=False, repr=False)
    """Of a view, what owns its bytes."""

    def __post_init__(self) -> None:
        # passes ask for these far more often than tensors are made
        object.__setattr__(self, "_root", self.view_of and self.view_of.storage)
        object.__setattr__(self, "size", math.prod(self.shape))
        object.__setattr__(self, "nbytes", self.size * self.itemsize)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return host_dtype(self.dtype).itemsize

    @property
    def integer(self) -> bool:
        """Whether its elements are whole numbers."""
        return self.dtype.startswith(("int", "uint"))

    @property
    def storage(self) -> Tensor:
        """The tensor that owns the bytes: itself, or the root of the views it belongs to."""
        return self._root or self

    @property
    def region(self) -> Box | None:
        """The elements of `storage` that these are, a range for each of its axes; None: all."""
        if self.view_of is None:
            return None
        outer = self.view_of.region
        if self.box is None or outer is None:
            return self.box or outer
        return tuple(
            (a + low, a + high) for (a, _), (low, high) in zip(outer, self.box, strict=True)
        )

    @property
    def whole(self) -> bool:
        """Whether it has all elements of its storage."""
        return self.region is None

    @property
    def start(self) -> int:
        """Bytes from the storage's first to this tensor's first."""
        if self.region is None:
            return 0
        steps = row_major(self.storage.shape)
        first = sum(low * step for (low, _), step in zip(self.region, steps, strict=True))
        return first * self.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether its elements lie side by side: a box of whole rows along the first axes."""
        if self.region is None:
            return True
        axes = zip(self.region, self.storage.shape, strict=True)
        whole = [high - low == size for (low, high), size in axes]
        single = [high - low == 1 for low, high in self.region]
        cut = next((k for k, one in enumerate(single) if not one), len(whole))
        return all(whole[cut + 1 :])

    @property
    def persistent(self) -> bool:
        """Whether its bytes hold from one step to the next."""
        return self.kind in PERSISTENT

    @property
    def given(self) -> bool:
        """Whether its bytes hold before op 0."""
        return self.persistent or self.kind == "input"

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} {'x'.join(map(str, self.shape))} {self.dtype}>"


@cache
def host_dtype(dtype: str) -> np.dtype[Any]:
    """The NumPy type of an element; bfloat16, which NumPy has not, as the 16 bits that it is."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


def row_major(shape: Shape) -> tuple[int, ...]:
    """Elements from one index to the next along each axis."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def part_of(whole: Tensor, axis: int, low: int, high: int, name: str) -> Tensor:
    """The bytes of `whole` whose index along `axis` is in [low, high)."""
    box = tuple((low, high) if k == axis else (0, size) for k, size in enumerate(whole.shape))
    shape = tuple(end - start for start, end in box)
    return Tensor(name, shape, whole.dtype, whole.kind, whole, box)
