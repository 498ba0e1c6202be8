"""What a step is given: arrays of NumPy and of other libraries, where they lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl.ir import ArgumentError, Array, Shape
from minidl.ir.arrays import detached

CPU, CUDA, CUDA_PINNED, ROCM_PINNED = 1, 2, 3, 11
"""DLPack's types of device: https://dmlc.github.io/dlpack/latest/c_api.html."""


@dataclass(frozen=True)
class OnDevice:
    """An array in a device's own memory, row-major, whose bytes start at address `ptr`."""

    device: Any
    ptr: int
    shape: Shape
    dtype: np.dtype[Any]
    owner: Any
    """What keeps the memory."""

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> OnDevice:
        """The samples `rows`, in the same memory."""
        first, last, _ = rows.indices(len(self))
        size = self.nbytes // max(1, len(self))
        return replace(self, ptr=self.ptr + first * size, shape=(last - first, *self.shape[1:]))

    def on_host(self) -> Array:
        """A copy."""
        raw: Array = self.device.read(self, 0, self.nbytes)
        return raw.view(self.dtype).reshape(self.shape)


Given = Array | OnDevice


def dlpack_device(value: object) -> tuple[int, int]:
    """DLPack's type and number of the device where an array lies: the CPU where it does not say."""
    asked = getattr(value, "__dlpack_device__", None)
    if asked is None:
        return CPU, 0
    kind, index = asked()
    return int(kind), int(index)


def host_array(value: Any) -> Array:
    """The value as NumPy has it: the same memory where it has `__array__` or `__dlpack__` there.

    ArgumentError where it lies on a GPU, or its library does not hand it over.
    """
    if isinstance(value, np.ndarray):
        return value
    value = detached(value)
    on_host = dlpack_device(value)[0] in (CPU, CUDA_PINNED, ROCM_PINNED)
    if not on_host or hasattr(value, "__cuda_array_interface__"):
        raise ArgumentError(
            "the array lies on a GPU, the step runs on the CPU",
            "give it a copy on the host, as x.cpu() or cupy.asnumpy(x) makes one",
        )
    other = hasattr(value, "__dlpack__") and not hasattr(value, "__array__")
    try:
        return np.from_dlpack(value) if other else np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise ArgumentError(f"a {type(value).__name__} is no array of numbers: {error}") from None
