"""Weights in files: read .safetensors, .pth and .npz, write .safetensors, load them into a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minidl.files.archives import opened_archive
from minidl.files.npz import read_npz
from minidl.files.opening import open_file
from minidl.files.safetensors import read_safetensors, write_safetensors
from minidl.files.words import shown
from minidl.interop.names import AUXILIARY, listed, state_dict_in, usual, without_prefix
from minidl.interop.pth import View, pth_arrays
from minidl.interop.widening import widened
from minidl.ir import ArgumentError, Array, Shape, ShapeError
from minidl.ir.calls import called
from minidl.ir.warned import warn_caller
from minidl.runtime.finite import warn_not_finite
from minidl.runtime.step import Step

ZIP = b"PK\x03\x04"
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""The number at the start of what torch.save wrote before version 1.6, behind its protocol."""

COUNTED = "num_batches_tracked"

ANOTHER = "it is another network's, or use strict=False to take what fits by name"
OTHER_CLASSES = (
    "build the network with the file's number of classes, or use new_head=True to train a "
    "classifier of your own"
)
NO_HEAD = "leave new_head out"
SAME_NUMBERS = "give them the network's shapes: reshape drops axes of one element"
OTHER_WIDTHS = "build the network with the same widths and image as the one that was saved"
"""Hints of `load_weights`."""


@called()
def read_weights(path: str | Path) -> dict[str, Array]:
    """The tensors of a .safetensors, .pth, .pt or .npz file by name; its content says which it is.

    float16 and bfloat16 come as float32, everything else as it is. Wrappers (`state_dict`, `model`,
    `module.`, `_orig_mod.`) are taken off, and of several state dicts the model's is taken: a
    UserWarning says so in one line. Nothing in the file is executed: see `minidl.interop.pth`.
    ArgumentError names the file and what is wrong with it; OSError where it cannot be read.
    """
    arrays, said = _read(path)
    _say(path, said)
    return arrays


def _say(path: str | Path, said: list[str]) -> None:
    if said:
        warn_caller(f"{path}: {'; '.join(said)}")


def _read(path: str | Path) -> tuple[dict[str, Array], list[str]]:
    """The tensors, and what there is to say of how they were found."""
    said: list[str] = []
    with open_file(path) as file:
        head = file.read(512)
    if head.startswith(ZIP):
        arrays = _read_zip(path, said)
    elif head[8:9] == b"{":
        arrays = _read_safetensors(path)
    else:
        raise ArgumentError(*_what_else(head)).at(path)
    arrays, more = usual(arrays)
    return arrays, said + more


def _read_zip(path: str | Path, said: list[str]) -> dict[str, Array]:
    with opened_archive(path) as archive:
        names = archive.namelist()
    if names and all(name.endswith(".npy") for name in names):
        return {name: widened(array) for name, array in read_npz(path, _require_numbers).items()}
    return pth_arrays(path, partial(_chosen, said))


def _require_numbers(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ArgumentError(f"array {name} holds {dtype}: weights are numbers of at most 64 bits")


def _read_safetensors(path: str | Path) -> dict[str, Array]:
    arrays, header = read_safetensors(path)
    return {e.name: widened(arrays[e.name], e.dtype == "BF16") for e in header.entries}


def _chosen(said: list[str], saved: Any) -> dict[str, View]:
    found, more = state_dict_in(saved)
    said += more
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, View):
            raise ArgumentError(
                f"{shown(str(name))} is no tensor",
                "save the state dict alone, torch.save(model.state_dict(), path)",
            )
    return found


def _what_else(head: bytes) -> tuple[str, str]:
    """What a file is that is not read, and the way out."""
    resave = "open it with PyTorch and save it again with torch.save, or as .safetensors"
    if LEGACY in head[:64]:
        return "it is in the format that torch.save had before version 1.6", resave
    if head[257:262] == b"ustar":
        return "it is a tar archive, as the first versions of torch.save wrote", resave
    if head[:1] == b"\x80":
        return "it is a bare pickle, which is not read since it could execute anything", resave
    return "it is neither .safetensors, .pth nor .npz, or it is damaged", ""


@called()
def save_weights(
    path: str | Path, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name as .safetensors, whole or not at all; `metadata` maps words to words.

    ArgumentError where an array's dtype is none of the format, or metadata is no words.
    """
    write_safetensors(path, arrays, metadata)


@dataclass(frozen=True)
class Loaded:
    """What `load_weights` did, by names."""

    taken: tuple[str, ...]
    """Written into the step."""
    kept: tuple[str, ...]
    """Of the step, left at the values that they had."""
    unused: tuple[str, ...]
    """Of the file, with no place in the step."""


@called()
def load_weights(
    step: Step, path: str | Path, *, strict: bool = True, new_head: bool = False
) -> Loaded:
    """Load a file that `read_weights` reads into a step. All or nothing.

    A prefix of all names, say `model.`, is taken off where the rest matches, and a line says so.
    strict: every weight must be in the file, and the file have no others. `num_batches_tracked`,
    which files from before 2018 lack, and GoogLeNet's auxiliary heads are not asked for.
    new_head: for fine-tuning, leave the last Linear at its first values, whatever number of classes
    it has. ArgumentError where the network does not end in one; any other shape that differs is
    refused: ShapeError or ArgumentError name the file,
    the tensors, their shapes and the way out. RuntimeWarning where a NaN or an infinity is loaded.
    """
    (arrays, said), wanted = _read(path), saved_shapes(step)
    asked = [name for name in wanted if not name.endswith(COUNTED)]
    arrays, more = without_prefix(arrays, asked)
    _say(path, said + more)
    _require_names(path, arrays, wanted, strict)
    differing = {n for n, shape in wanted.items() if n in arrays and arrays[n].shape != shape}
    head = _head(step, wanted)
    replaced = {n for n in differing & head if _only_classes(arrays[n].shape, wanted[n])}
    if wrong := sorted(differing - replaced if new_head else differing):
        hint = OTHER_CLASSES if set(wrong) <= replaced else OTHER_WIDTHS
        if all(_plain(arrays[name].shape) == _plain(wanted[name]) for name in wrong):
            hint = SAME_NUMBERS
        raise ShapeError(_difference(path, wrong, arrays, wanted), hint)
    if new_head and not head:
        raise ArgumentError(
            f"{path}: the network does not end in a Linear that could begin anew",
            NO_HEAD,
        )
    left = head if new_head else set()
    taken = {name: arrays[name] for name in wanted if name in arrays and name not in left}
    present = step.state_dict() if taken.keys() != wanted.keys() else {}
    try:
        step.load_state_dict({**present, **taken})
    except ArgumentError as error:
        raise error.at(path) from None
    warn_not_finite(path, taken)
    kept = (name for name in wanted if name not in taken)
    unused = (name for name in arrays if name not in wanted)
    return Loaded(tuple(taken), tuple(kept), tuple(unused))


def saved_shapes(step: Step) -> dict[str, Shape]:
    """Shapes of everything in the step's state dict, in PyTorch's layout."""
    variables = (v for v in step.plan.graph.variables if v.saved)
    return {v.name: torch_shape(v.tensor.shape) for v in variables}


def torch_shape(shape: Shape) -> Shape:
    """PyTorch's shape of a variable: filters are KCRS there, KRSC here."""
    if len(shape) != 4:
        return shape
    k, r, s, c = shape
    return k, c, r, s


def _require_names(
    path: str | Path, arrays: dict[str, Array], wanted: dict[str, Shape], strict: bool
) -> None:
    missing = [n for n in wanted.keys() - arrays.keys() if not n.endswith(COUNTED)]
    unknown = [n for n in arrays.keys() - wanted.keys() if not AUXILIARY.match(n)]
    if strict and (missing or unknown):
        raise ArgumentError(
            f"{path}: differs from the network: missing {listed(sorted(missing))}; unknown "
            f"{listed(sorted(unknown))}",
            ANOTHER,
        )
    if not arrays.keys() & wanted.keys():
        raise ArgumentError(
            f"{path}: has none of the network's weights: it has {listed(sorted(arrays))}, the "
            f"network {listed(sorted(wanted))}"
        )


def _head(step: Step, wanted: dict[str, Shape]) -> set[str]:
    """Weight and bias of the last Linear, if its features are the network's output."""
    matrices = [name for name, shape in wanted.items() if len(shape) == 2]
    features = step.inference_plan.graph.outputs[0].shape[-1]
    if not matrices or wanted[matrices[-1]][0] != features:
        return set()
    layer = matrices[-1].rpartition(".")[0]
    return {name for name in wanted if name.rpartition(".")[0] == layer}


def _only_classes(given: Shape, expected: Shape) -> bool:
    return len(given) == len(expected) and given[1:] == expected[1:]


def _difference(
    path: str | Path,
    wrong: list[str],
    arrays: dict[str, Array],
    wanted: dict[str, Shape],
) -> str:
    about = [f"{n}: the network has {wanted[n]}, the file {arrays[n].shape}" for n in wrong]
    return f"{path}: shapes differ: {'; '.join(about[:3])}{_more(len(about) - 3)}"


def _plain(shape: Shape) -> Shape:
    """Without axes of one element."""
    return tuple(size for size in shape if size != 1)


def _more(count: int) -> str:
    return f"; and {count} more" if count > 0 else ""
