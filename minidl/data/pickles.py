"""The pickles of CIFAR-10, read without running anything that stands in them.

Python's unpickler calls whatever a file names. This one knows five names, and gives each a stand-in
of its own that can hold bytes and nothing else.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from minidl.ir import ArgumentError, Array


class _Dtype:
    """numpy.dtype("u1"), the only one."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"array of {code!r}, bytes expected")

    def __setstate__(self, _: object) -> None:
        """Byte order and the like, which bytes do not have."""


class _Bytes:
    """numpy.ndarray, of bytes, in C order."""

    array: Array

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes) or fortran:
            raise pickle.UnpicklingError("an array that is not of bytes in C order")
        self.array = np.frombuffer(raw, np.uint8).reshape(shape)


def _reconstruct(*_: object) -> _Bytes:
    return _Bytes()


def _encode(text: str, encoding: str) -> bytes:
    """_codecs.encode, by which Python 3 writes bytes in old protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Bytes,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return ALLOWED[module, name]


def read_pickle(raw: bytes, where: str) -> dict[str, object]:
    """A dictionary of numbers, text, lists and arrays of bytes, its keys as text.

    ArgumentError for anything else; nothing that the pickle names is imported or called.
    """
    try:
        found = _Unpickler(io.BytesIO(raw), encoding="bytes").load()
    except Exception as error:  # A hostile pickle can raise anything.
        raise ArgumentError(f"{where}: refused as a pickle: {error}") from error
    if not isinstance(found, dict):
        raise ArgumentError(f"{where}: refused as a pickle: not a dictionary")
    return {_text(key): getattr(value, "array", value) for key, value in found.items()}


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)
