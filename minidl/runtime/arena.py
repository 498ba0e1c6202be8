"""Arena: the one allocation, and the views of it that tensors are."""

from __future__ import annotations

import os

import numpy as np

from minidl.devices import cpu
from minidl.ir import ArenaTooLargeError, Array, Plan, PlanError, Tensor, format_size


class Arena:
    """One buffer of the plan's bytes; `view` gives the array that a tensor is."""

    def __init__(self, nbytes: int, alignment: int) -> None:
        require_memory(nbytes)
        self.bytes = cpu.allocate(nbytes, alignment)

    def view(self, plan: Plan, tensor: Tensor) -> Array:
        """The tensor's bytes in its shape and dtype; nothing is copied."""
        if tensor.view_of is not None and tensor.box is not None:
            region = tuple(slice(low, high) for low, high in tensor.box)
            return self.view(plan, tensor.view_of)[region]
        if tensor.view_of is not None and tensor.shape == tensor.view_of.shape:
            return self.view(plan, tensor.view_of)
        if not tensor.contiguous:
            raise PlanError(f"{tensor.name} reads elements that are apart in another shape")
        offset = plan.offset(tensor)
        raw = self.bytes[offset : offset + tensor.nbytes]
        return raw.view(np.dtype(tensor.dtype)).reshape(tensor.shape)


def require_memory(nbytes: int) -> None:
    """ArenaTooLargeError unless the machine has `nbytes` of memory free."""
    free = available_memory()
    if free is not None and nbytes > free:
        raise ArenaTooLargeError(
            f"the arena needs {format_size(nbytes)}, this machine has {format_size(free)} free: "
            "use a smaller batch or image, or memory='arena' if another mode was chosen"
        )


def available_memory() -> int | None:
    """Bytes that can be allocated now, as far as the system tells."""
    try:
        with open("/proc/meminfo") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
