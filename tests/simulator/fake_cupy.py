"""As much of CuPy as the CUDA device uses, on the simulator, and as strict as a real GPU.

The device's own code then runs in CI: addresses, packed parameters, staging, events, capture and
replay. Names and arguments are those of CuPy 14. What is started runs later, at the latest when it
is waited for; what a GPU, its driver or CUDA refuses is refused with the same error.
`tests/simulator/fake` has the parts, `tests/simulator/test_fake_cupy.py` what each refuses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from minidl.devices.kernels import Unit
from tests.simulator.device import SimulatedDevice
from tests.simulator.fake.errors import CUDADriverError, CUDARuntimeError
from tests.simulator.fake.machine import MACHINE, Machine, reset
from tests.simulator.fake.memory import (
    DEVICE_TO_DEVICE,
    DEVICE_TO_HOST,
    HOST_TO_DEVICE,
    Memory,
    MemoryPointer,
    Pinned,
    alloc_pinned_memory,
    from_dlpack,
    memcpy_async,
    memset_async,
    ndarray,
)
from tests.simulator.fake.modules import (
    MAX_DYNAMIC_SHARED,
    Function,
    Module,
    code_of,
    func_set_attribute,
    launch_kernel,
)
from tests.simulator.fake.streams import (
    CURRENT,
    GRAPHS,
    WAITED,
    Context,
    Event,
    Graph,
    Stream,
    device_synchronize,
    stream_synchronize,
)

if TYPE_CHECKING:
    import pytest

__version__ = "14.2.0"

DEVICE = SimulatedDevice()
"""Says from which folder of kernels code is made."""


def libraries(units: Iterable[Unit], capability: int) -> dict[str, bytes]:
    """In the place of `cubins`: code for cards of that capability, by entry."""
    return code_of(list(units), f"sm_{capability}", DEVICE.toolchain)


class Device(Context):
    def __init__(self, device: int | None = None) -> None:
        self.id = MACHINE.current[-1] if device is None else device

    def __enter__(self) -> Device:
        MACHINE.card(self.id)
        MACHINE.current.append(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        MACHINE.current.pop()

    @property
    def compute_capability(self) -> str:
        return str(MACHINE.card(self.id).capability)


def _memory_info() -> tuple[int, int]:
    card = MACHINE.enter()
    return card.free, card.total


def _properties(device: int) -> dict[str, Any]:
    card = MACHINE.card(device)
    return {
        "name": card.name.encode(),
        "major": card.capability // 10,
        "minor": card.capability % 10,
        "totalGlobalMem": card.total,
        "multiProcessorCount": 132,
        "sharedMemPerBlockOptin": card.shared_opt_in,
    }


cuda = SimpleNamespace(
    Device=Device,
    Event=Event,
    Graph=Graph,
    Memory=Memory,
    MemoryPointer=MemoryPointer,
    Stream=Stream,
    alloc_pinned_memory=alloc_pinned_memory,
    driver=SimpleNamespace(
        CUDADriverError=CUDADriverError,
        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=MAX_DYNAMIC_SHARED,
        funcSetAttribute=func_set_attribute,
        launchKernel=launch_kernel,
    ),
    function=SimpleNamespace(Function=Function, Module=Module),
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        deviceSynchronize=device_synchronize,
        driverGetVersion=lambda: MACHINE.driver,
        getDeviceCount=lambda: MACHINE.count(),
        getDeviceProperties=_properties,
        memGetInfo=_memory_info,
        memcpyAsync=memcpy_async,
        memcpyDeviceToDevice=DEVICE_TO_DEVICE,
        memcpyDeviceToHost=DEVICE_TO_HOST,
        memcpyHostToDevice=HOST_TO_DEVICE,
        memsetAsync=memset_async,
        runtimeGetVersion=lambda: MACHINE.runtime,
        streamSynchronize=stream_synchronize,
    ),
)


def install(monkeypatch: pytest.MonkeyPatch, *capabilities: int, **fields: Any) -> Machine:
    """Stand in for CuPy and its machine: cards of these capabilities, one H100 if none is named."""
    monkeypatch.setattr("minidl.devices.cuda.cubins", libraries)
    return install_machine(monkeypatch, *capabilities, **fields)


def install_machine(monkeypatch: pytest.MonkeyPatch, *capabilities: int, **fields: Any) -> Machine:
    """The same where kernels are compiled by what is there."""
    monkeypatch.setitem(sys.modules, "cupy", sys.modules[__name__])
    for log in (Memory.taken, GRAPHS, WAITED, CURRENT):
        log.clear()
    return reset(*capabilities, **fields)


__all__ = [
    "CURRENT",
    "GRAPHS",
    "MACHINE",
    "WAITED",
    "CUDADriverError",
    "CUDARuntimeError",
    "Device",
    "Function",
    "Memory",
    "MemoryPointer",
    "Module",
    "Pinned",
    "cuda",
    "from_dlpack",
    "install",
    "libraries",
    "ndarray",
    "reset",
]
