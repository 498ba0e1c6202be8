"""Milliseconds of calls on a device, and GB/s of its copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], None]


def milliseconds(device: Any, call: Call, repeats: int) -> float:
    """Of one call, from `repeats` of them behind each other, the device waited for at the end."""
    device.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    device.synchronize()
    return (time.perf_counter() - start) * 1e3 / repeats


class Graphed:
    """A call `launches` times in a CUDA graph: Python takes microseconds for a launch, longer than
    many ops take."""

    def __init__(self, device: Any, call: Call, launches: int) -> None:
        self.device, self.launches = device, launches
        self.whole = device.whole([call] * launches)
        with device.running():
            self.whole()  # the first run is eager, the second captures
            self.whole()

    def milliseconds(self, repeats: int) -> float:
        """Of one call, from `repeats` launches of the graph."""
        with self.device.running():
            return milliseconds(self.device, self.whole, repeats) / self.launches


def copy_bandwidth(device: Any, machine: Any) -> float:
    """GB/s, read and written, of the device's own copy."""
    nbytes: int = machine.COPY_BYTES
    source, to = device.allocate(nbytes, 256), device.allocate(nbytes, 256)
    device.fill(source, 0, nbytes, 1)
    runtime, stream = device.runtime, device.stream

    def copy() -> None:
        kind = runtime.memcpyDeviceToDevice
        runtime.memcpyAsync(to.ptr, source.ptr, nbytes, kind, stream.ptr)

    milliseconds(device, copy, 2)
    return 2 * nbytes / milliseconds(device, copy, 10) / 1e6


class TorchClock:
    """PyTorch's device, as far as timing needs it."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def synchronize(self) -> None:
        if self.torch.cuda.is_available():
            self.torch.cuda.synchronize()
