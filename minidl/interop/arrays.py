"""Weights of a step as arrays of other libraries: the same bytes, nothing copied.

In the other direction a step takes their arrays as they are: see `Step.__call__`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.devices.given import CUDA
from minidl.ir import ArgumentError, Array, Shape
from minidl.ir.calls import called
from minidl.runtime.step import Step


@dataclass(frozen=True)
class CudaArray:
    """A tensor in an arena on a GPU, row-major; it keeps the arena.

    Give it to `torch.from_dlpack`, `cupy.from_dlpack`, `jax.dlpack.from_dlpack` or, by
    `__cuda_array_interface__` version 3, to Numba. What reads it waits for the step's stream;
    before the next step the reader must be done.
    """

    device: Any
    memory: Any
    offset: int
    """Bytes from the arena's first."""
    shape: Shape
    dtype: str

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self.memory.ptr + self.offset, False),
            "strides": None,
            "version": 3,
            "stream": self.device.stream.ptr,
        }

    def __dlpack__(self, *, stream: Any = None, **how: Any) -> Any:
        """A capsule whose consumer's `stream` waits for the step's."""
        array = self.device.array(self.memory, self.offset, self.shape, self.dtype)
        with self.device.running(), self.device.stream:
            return array.__dlpack__(stream=stream, **how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.device.index


@called()
def exported(step: Step, name: str) -> Array | CudaArray:
    """A variable of a step in its own bytes, in the layout of minidl (NHWC, KRSC).

    On the CPU device NumPy's view, which has `__array_interface__` and `__dlpack__`; on a GPU a
    `CudaArray`. ArgumentError where there is no such variable, or the device lends no memory.
    """
    device = step.arena.device
    if device.on_host:
        return step.array(name)
    found = {v.name: v.tensor for v in step.plan.graph.variables}
    if name not in found:
        raise ArgumentError(f"no variable {name!r}", f"choose from {', '.join(found)}")
    if not hasattr(device, "array"):
        raise ArgumentError(f"device {device.name!r} does not lend its memory", "use state_dict()")
    step.array(name)  # its first value, were it not drawn yet
    tensor = found[name]
    offset = step.plan.offset(tensor)
    return CudaArray(device, step.arena.bytes, offset, tensor.shape, tensor.dtype)
