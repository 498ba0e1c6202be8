"""How a target runs an op: what a layer leaves open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from minidl.ir.op import Op, Takes

NOTHING = Takes()


@dataclass(frozen=True, slots=True)
class How:
    """How one op runs on one device, as data: the answer of the device's rule for its function."""

    attributes: Mapping[str, Any] | None = None
    """What the function is given; None: what the layer stated."""
    scratch: int = 0
    """Elements of workspace, a last write of the op; of the dtype of sums."""
    takes: Takes = NOTHING


Target = Callable[[Op], How]
"""What a graph is lowered for, as far as lowering has to know it: a device with its settings."""


def as_stated(_: Op) -> How:
    """Of no device: ops as their layers state them, for who asks for shapes alone."""
    return How()
