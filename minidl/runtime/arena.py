"""Arena: the one allocation, and the arrays that tensors are in it."""

from __future__ import annotations

import numpy as np

from minidl.devices.cpu import CpuDevice
from minidl.devices.device import Device, bytes_of, free_memory
from minidl.devices.given import Given, OnDevice
from minidl.ir import ArenaTooLargeError, Array, PlanError, Tensor, format_size
from minidl.ir.bfloat16 import from_bfloat16, to_bfloat16
from minidl.ir.printed import never_raises
from minidl.ir.tensor import host_dtype
from minidl.placed.graph import PlacedGraph


class Arena:
    """One buffer of the plan's bytes on a device."""

    def __init__(self, nbytes: int, alignment: int, device: Device | None = None) -> None:
        self.device = device or CpuDevice()
        require_memory(nbytes, self.device)
        self.bytes = self.device.allocate(nbytes, alignment)

    @never_raises
    def __repr__(self) -> str:
        return f"<Arena of {format_size(self.bytes.nbytes)}, {self.device.name}>"

    def view(self, plan: PlacedGraph, tensor: Tensor) -> Array:
        """The tensor's elements in its shape: where the device is the host a view, nothing is
        copied; elsewhere a copy. bfloat16 comes as its 16 bits: see `read`."""
        if tensor.view_of is not None and tensor.box is not None:
            region = tuple(slice(low, high) for low, high in tensor.box)
            return self.view(plan, tensor.view_of)[region]
        if tensor.view_of is not None and tensor.shape == tensor.view_of.shape:
            return self.view(plan, tensor.view_of)
        if not tensor.contiguous:
            raise PlanError(f"{tensor.name} reads elements that are apart in another shape")
        raw = self.device.read(self.bytes, plan.offset(tensor), tensor.nbytes)
        return raw.view(host_dtype(tensor.dtype)).reshape(tensor.shape)

    def read(self, plan: PlacedGraph, tensor: Tensor) -> Array:
        """The tensor's values: bfloat16 as float32, everything else as `view` gives it."""
        array = self.view(plan, tensor)
        return from_bfloat16(array) if tensor.dtype == "bfloat16" else array

    def write(self, plan: PlacedGraph, tensor: Tensor, values: Given) -> None:
        """Set the tensor to `values`, converted to its dtype; where they are fewer samples than it
        has, the rest becomes zeros. What lies on the device must have the dtype, and stays there.
        """
        if isinstance(values, OnDevice):
            values.device.write_from_device(self.bytes, plan.offset(tensor), values)
            self._clear_behind(plan, tensor, values.nbytes)
            return
        if self.device.on_host:
            view = self.view(plan, tensor)
            part = view[: len(values)] if values.ndim else view
            part[...] = to_bfloat16(values) if tensor.dtype == "bfloat16" else values
            if values.ndim:
                view[len(values) :] = 0
            return
        converted = _converted(values, tensor)
        self.device.write(self.bytes, plan.offset(tensor), bytes_of(converted))
        self._clear_behind(plan, tensor, converted.nbytes)

    def _clear_behind(self, plan: PlacedGraph, tensor: Tensor, nbytes: int) -> None:
        """Zeros in all bytes of the tensor but the first."""
        if nbytes < tensor.nbytes:
            rest = tensor.nbytes - nbytes
            self.device.fill(self.bytes, plan.offset(tensor) + nbytes, rest, 0)

    def send_inputs(self, plan: PlacedGraph, arrays: list[Given]) -> None:
        """Send a batch to where the plan has it, or has it wait for its step."""
        if plan.graph.waiting and any(isinstance(array, OnDevice) for array in arrays):
            self.device.after_copies()
        for tensor, array in zip(plan.graph.waiting or plan.graph.inputs, arrays, strict=True):
            if not plan.graph.waiting or isinstance(array, OnDevice):
                self.write(plan, tensor, array)
            else:
                converted = _converted(array, tensor)
                self.device.write_ahead(self.bytes, plan.offset(tensor), converted)

    def take_inputs(self, plan: PlacedGraph) -> None:
        """Move a batch that waits to where the step reads it."""
        for tensor, source in zip(plan.graph.inputs, plan.graph.waiting, strict=False):
            self.device.move(self.bytes, plan.offset(tensor), plan.offset(source), tensor.nbytes)


def _converted(values: Array, tensor: Tensor) -> Array:
    """The values as the tensor's elements, side by side."""
    if tensor.dtype == "bfloat16":
        values = to_bfloat16(values)
    return np.ascontiguousarray(values, host_dtype(tensor.dtype))


SMALLER = "use a smaller batch or image, or memory='arena' if another mode was chosen"


def require_memory(nbytes: int, device: Device) -> None:
    """ArenaTooLargeError unless the device has `nbytes` of memory free."""
    free = device.available()
    if free is not None and nbytes > free:
        raise ArenaTooLargeError(
            f"the arena needs {format_size(nbytes)}, {free_memory(device, free)}",
            SMALLER,
        )
