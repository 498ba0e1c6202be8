"""Reading PyTorch's .pth and .pt without PyTorch, and without executing anything.

torch.save writes, since version 1.6, a zip archive of uncompressed entries below one folder:
`data.pkl`, a pickle that describes tensors; `data/<key>`, the bytes of each storage; `byteorder`. A
tensor is a view of a storage: offset, shape and strides, counted in elements.
Source: torch/serialization.py and torch/_utils.py of PyTorch 2.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from minidl.files.archives import opened_archive, require_stored
from minidl.files.pickle import Allowed, Calls, Word, read_pickle
from minidl.files.words import MOST_AXES, is_count, is_shape, shown
from minidl.interop import pth_extras
from minidl.interop.names import listed
from minidl.interop.widening import widened
from minidl.ir import ArgumentError, Array, Shape

STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "u2",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
"""PyTorch's types of storage and NumPy's of an element; bfloat16 as its 16 bits."""

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")
WORDS = frozenset(("torch", name) for name in (*STORAGES, *DTYPES, "bool", "strided"))
"""Names that may stand in a checkpoint as they are."""

SHARED = 16
"""How often a storage's bytes may be read into tensors, on average: tied weights need 2."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A storage: the entry `data/<key>` of the archive."""

    key: str
    kind: str
    size: int
    """In elements."""


@dataclass(frozen=True, slots=True)
class View:
    """A tensor: elements of a storage; offset and strides count elements."""

    storage: Stored
    offset: int
    shape: Shape
    strides: Shape
    negative: bool = False
    """The negative bit: the elements are those of the storage times -1."""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def pth_arrays(path: str | Path, choose: Any) -> dict[str, Array]:
    """The tensors that `choose` takes out of what was saved, by name, as arrays of their own.

    float16 and bfloat16 come as float32. ArgumentError names the file and what is wrong.
    """
    with opened_archive(path) as archive:
        checkpoint = _Checkpoint(archive)
        return checkpoint.arrays(choose(checkpoint.value()))


@dataclass
class _Checkpoint:
    archive: zipfile.ZipFile
    folder: str = ""
    order: Literal["<", ">"] = "<"
    storages: dict[str, Stored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_stored(self.archive)
        names = self.archive.namelist()
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1 or {name.split("/")[0] for name in names} != {pickles[0][:-9]}:
            raise ArgumentError("it is no checkpoint: one folder with a data.pkl is expected")
        self.folder = pickles[0][:-9]
        if f"{self.folder}/constants.pkl" in names:
            raise ArgumentError(
                "it is a TorchScript program, which is code, not weights alone",
                "write a file of its weights with PyTorch: "
                "torch.save(torch.jit.load(PATH).state_dict(), 'weights.pth')",
            )
        self.order = self._byte_order(names)

    def _byte_order(self, names: list[str]) -> Literal["<", ">"]:
        name = f"{self.folder}/byteorder"
        order = self.archive.read(name) if name in names else b"little"
        if order not in (b"little", b"big"):
            raise ArgumentError(f"its byte order is {shown(str(order))}: little or big is expected")
        return "<" if order == b"little" else ">"

    def value(self) -> Any:
        data = self.archive.read(f"{self.folder}/data.pkl")
        return read_pickle(data, replace(ALLOWED, persistent=self._storage))

    def _storage(self, described: object) -> Stored:
        """The storage that a persistent id ("storage", type, key, location, elements) names."""
        if not isinstance(described, tuple) or len(described) != 5 or described[0] != "storage":
            raise ArgumentError("its pickle refers to what is no storage")
        _, kind, key, _, size = described
        known = isinstance(kind, Word) and kind.name in STORAGES
        if not known or not isinstance(key, str) or not key.isalnum() or not is_count(size):
            raise ArgumentError(f"its pickle refers to storage {shown(key)} in an unknown way")
        stored = self.storages.setdefault(key, Stored(key, kind.name, size))
        if stored != Stored(key, kind.name, size):
            raise ArgumentError(f"storage {shown(key)} is described in two ways")
        return stored

    def arrays(self, views: dict[str, View]) -> dict[str, Array]:
        used = {view.storage for view in views.values()}
        there = sum(stored.size for stored in used)
        if sum(view.size for view in views.values()) > SHARED * there:
            raise ArgumentError(f"its tensors read its {there:,} elements more than {SHARED} times")
        raw = {stored: self._bytes(stored) for stored in used}
        return {name: self._array(view, raw[view.storage]) for name, view in views.items()}

    def _bytes(self, stored: Stored) -> bytes:
        name = f"{self.folder}/data/{stored.key}"
        itemsize = np.dtype(STORAGES[stored.kind]).itemsize
        try:
            info = self.archive.getinfo(name)
        except KeyError:
            raise ArgumentError(f"storage {shown(stored.key)} is missing") from None
        if info.file_size != stored.size * itemsize:
            raise ArgumentError(
                f"storage {shown(stored.key)}: {stored.size:,} elements of {itemsize} bytes are "
                f"described, it has {info.file_size:,} bytes"
            )
        return self.archive.read(info)

    def _array(self, view: View, raw: bytes) -> Array:
        dtype = np.dtype(STORAGES[view.storage.kind]).newbyteorder(self.order)
        if not view.size:
            return widened(np.empty(view.shape, dtype.newbyteorder("=")))
        strides = tuple(step * dtype.itemsize for step in view.strides)
        seen = np.ndarray(view.shape, dtype, raw, view.offset * dtype.itemsize, strides)
        own = np.array(seen, dtype.newbyteorder("="), order="C")
        wide = widened(own, view.storage.kind == "BFloat16Storage")
        return np.negative(wide, out=wide) if view.negative else wide


class Ordered(dict[Any, Any]):
    """What stands for a `collections.OrderedDict`."""


def _attributes(_: Ordered, state: object) -> None:
    """torch.save gives a state dict its `_metadata` so; it is not needed."""
    if not isinstance(state, dict):
        raise ArgumentError("its pickle sets a state that is no dict")


def _ordered_dict(*arguments: Any) -> Ordered:
    """OrderedDict(), or of a list of pairs, as old versions of Python pickle it."""
    if arguments:
        raise ArgumentError("its pickle makes an OrderedDict of something: empty ones are read")
    return Ordered()


def _size(*arguments: Any) -> tuple[Any, ...]:
    if len(arguments) != 1 or not isinstance(arguments[0], tuple):
        raise ArgumentError("its pickle makes a torch.Size of what is no tuple")
    return arguments[0]


def _device(*arguments: Any) -> Word:
    return Word("torch", "device")


def _tensor(*arguments: Any) -> View:
    """torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks), and
    the bits that say how the elements are meant where one is set."""
    if len(arguments) not in (6, 7):
        raise ArgumentError(f"its pickle makes a tensor of {len(arguments)} arguments, not 6")
    storage, offset, shape, strides, _, hooks = arguments[:6]
    if not isinstance(storage, Stored) or hooks or not is_count(offset):
        raise ArgumentError("its pickle makes a tensor of what is no storage, or with hooks")
    if not all(isinstance(t, tuple) and all(map(is_count, t)) for t in (shape, strides)):
        raise ArgumentError("its pickle makes a tensor whose shape or strides are no whole numbers")
    if len(shape) != len(strides) or len(shape) > MOST_AXES:
        raise ArgumentError(
            f"its pickle makes a tensor of shape {shape[:9]}, strides {strides[:9]}"
        )
    view = View(storage, offset, shape, strides, _is_negative(*arguments[6:]))
    if view.negative and storage.kind == "BoolStorage":
        raise ArgumentError("its pickle makes a tensor of booleans with the negative bit")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if view.size and (last >= storage.size or view.size > storage.size):
        raise ArgumentError(
            f"a tensor of shape {shape}, strides {strides}, offset {offset} does not lie in its "
            f"storage of {storage.size:,} elements, each once"
        )
    if not is_shape(shape, 8):
        raise ArgumentError(f"a tensor has a shape that nothing can have, {shape}")
    return view


def _is_negative(bits: object = None) -> bool:
    """The bits as a map: `neg`, and `conj`, which says nothing of real numbers. Integers and
    booleans have none."""
    known = {} if bits is None else bits
    if not isinstance(known, dict) or not all(type(bit) is bool for bit in known.values()):
        raise ArgumentError("its pickle makes a tensor with bits that are no map of booleans")
    if unknown := known.keys() - {"neg", "conj"}:
        raise ArgumentError(f"its pickle makes a tensor with the bits {listed(map(str, unknown))}")
    return bool(known.get("neg", False))


def _parameter(*arguments: Any) -> View:
    """torch._utils._rebuild_parameter(tensor, requires_grad, hooks)."""
    if len(arguments) != 3 or not isinstance(arguments[0], View) or arguments[2]:
        raise ArgumentError("its pickle makes a parameter of what is no tensor, or with hooks")
    return arguments[0]


CALLS: Calls = {
    **pth_extras.CALLS,
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
"""All that a checkpoint may call."""

ALLOWED = Allowed(
    CALLS,
    WORDS,
    objects=pth_extras.OBJECTS,
    states={Ordered: _attributes, pth_extras.Extra: pth_extras.set_state},
    hint="save the state dict alone, torch.save(model.state_dict(), path), or as .safetensors",
)
