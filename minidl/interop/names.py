"""Names in checkpoints: what other programs wrap around a state dict, and older names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from minidl.ir import ArgumentError

Value = TypeVar("Value")

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts keep the state dict, in the order in which they are tried."""

PREFIX = "module."
"""What torch.nn.DataParallel puts in front of every name."""

OLD_DENSE = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")
"""torchvision's DenseNet files have `norm.1`, its module has `norm1`."""

AUXILIARY = re.compile(r"^aux[12]\.")
"""Heads that torchvision's GoogLeNet file has, and drops when it is loaded."""


def state_dict_in(saved: Any) -> dict[str, Any]:
    """The map from names to tensors in what was saved: itself, or what a wrapper's key holds."""
    for key in WRAPPERS:
        if isinstance(saved, dict) and isinstance(saved.get(key), dict):
            return dict(saved[key])
    if not isinstance(saved, dict):
        raise ArgumentError(
            f"it holds a {type(saved).__name__}, no state dict", "save model.state_dict()"
        )
    return saved


def usual(arrays: dict[str, Value]) -> dict[str, Value]:
    """The same by the names that modules have: without `module.`, of today's DenseNet."""
    if arrays and all(name.startswith(PREFIX) for name in arrays):
        arrays = {name.removeprefix(PREFIX): value for name, value in arrays.items()}
    return {OLD_DENSE.sub(r"\1\2", name): value for name, value in arrays.items()}


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names for an error: a few, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"{', '.join(found[:most]) or 'none'}{more}"
