"""Tensor: a value of one training step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Shape = tuple[int, ...]

Kind = Literal[
    "parameter",  # trained; lives for ever
    "state",  # momentum, running statistics, step counter, learning rate; lives for ever
    "input",  # pictures and labels; filled before op 0
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

    Compared and hashed by identity. Pictures are NHWC, filters KRSC; `shape` includes the batch.
    `view_of` names the tensor whose bytes these are, read in another shape.
    """

    name: str
    shape: Shape
    dtype: str
    kind: Kind
    view_of: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize

    @property
    def storage(self) -> Tensor:
        """The tensor that owns the bytes: itself, or the root of the views it belongs to."""
        return self if self.view_of is None else self.view_of.storage

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
