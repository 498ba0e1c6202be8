"""Names in checkpoints: what other programs wrap around a state dict, and older names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from minidl.files.words import shown
from minidl.ir import ArgumentError

Value = TypeVar("Value")

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts keep the state dict, in the order in which they are tried."""

AVERAGES = ("model_ema", "state_dict_ema", "ema_state_dict", "ema")
"""Keys of averaged weights, which are taken where there are no others."""

DEEPEST = 8
"""Wrappers around wrappers, at most."""

COUNTER = "n_averaged"
"""What torch.optim.swa_utils.AveragedModel counts, beside the model's own names."""

PREFIX = "module."
"""What DataParallel and AveragedModel put in front of every name."""

WITHIN = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch.compile and others put in front of the names of whatever module they are given."""

OLD_DENSE = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")
"""torchvision's DenseNet files have `norm.1`, its module has `norm1`."""

AUXILIARY = re.compile(r"^aux[12]\.")
"""Heads that torchvision's GoogLeNet file has, and drops when it is loaded."""


def state_dict_in(saved: Any) -> tuple[dict[str, Any], list[str]]:
    """The map from names to tensors in what was saved, itself or what a wrapper's key holds; and
    what there is to say: which one of several was taken."""
    if not isinstance(saved, dict):
        raise ArgumentError(
            f"it holds a {type(saved).__name__}, no state dict", "save model.state_dict()"
        )
    maps = [key for key, value in saved.items() if isinstance(value, dict) and value]
    for key in (*WRAPPERS, *AVERAGES):
        if isinstance(saved.get(key), dict):
            others = [shown(other) for other in maps if other != key]
            said = [f"of its maps {key!r} is taken, not {listed(others)}"] if others else []
            return dict(saved[key]), said
    return saved, []


def usual(arrays: dict[str, Value]) -> tuple[dict[str, Value], list[str]]:
    """The same by the names that modules have, and what was taken off: counters of averages, the
    prefixes of wrappers. Old names of DenseNet are today's."""
    said: list[str] = []
    names = {name: name for name in arrays}
    if COUNTER in names and all(name.startswith(PREFIX) for name in names.keys() - {COUNTER}):
        del names[COUNTER]
        said.append("it is an average of models")
    names, taken = _unwrapped(names)
    if taken:
        said.append(f"names are read without {listed(map(repr, taken))}")
    return {OLD_DENSE.sub(r"\1\2", name): arrays[own] for name, own in names.items()}, said


def _unwrapped(names: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Names without what wrappers put in front, and what that was; two names stay two."""
    taken: list[str] = []
    for _ in range(DEEPEST if names else 0):
        inner = {WITHIN.sub("", name): own for name, own in names.items()}
        if inner.keys() != names.keys() and len(inner) == len(names):
            taken += sorted({found for name in names for found in WITHIN.findall(name)})
            names = inner
        elif all(name.startswith(PREFIX) for name in names):
            taken.append(PREFIX)
            names = {name.removeprefix(PREFIX): own for name, own in names.items()}
        else:
            break
    return names, list(dict.fromkeys(taken))


def without_prefix(
    arrays: dict[str, Value], wanted: Collection[str]
) -> tuple[dict[str, Value], list[str]]:
    """The same without the prefix, `model.` or another, behind which all names of `wanted` are;
    as they are where none or several do, or some name is there without."""
    if not wanted or arrays.keys() & set(wanted):
        return arrays, []
    first = next(iter(wanted))
    ends = [name.removesuffix(first) for name in arrays if name.endswith(f".{first}")]
    fitting = [p for p in ends if all(f"{p}{name}" in arrays for name in wanted)]
    if len(fitting) != 1:
        return arrays, []
    (prefix,) = fitting
    rest = {name.removeprefix(prefix): value for name, value in arrays.items()}
    if len(rest) != len(arrays):
        return arrays, []
    return rest, [f"names are read without {shown(prefix)}"]


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names for an error: a few, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"{', '.join(found[:most]) or 'none'}{more}"
