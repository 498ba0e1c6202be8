"""As much of CuPy as the CUDA device uses, on the simulator: what it does is done at once.

The device's own code then runs in CI: addresses, packed parameters, staging, capture and replay. A
copy while a graph is captured is an error, as it is on a GPU.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from minidl.devices.kernels import Unit
from tests.simulator.device import SimulatedDevice, runtime

DEVICE = SimulatedDevice()
LARGEST = 2**32


class CUDARuntimeError(RuntimeError):
    pass


class Memory:
    """Bytes of "the device"."""

    taken: list[int] = []  # noqa: RUF012 - a log

    def __init__(self, size: int) -> None:
        if size > LARGEST:
            raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")
        self.raw = np.full(size + 512, 0xFF, np.uint8)
        self.ptr = -(-self.raw.ctypes.data // 256) * 256
        self.size = size
        self.taken.append(size)


class MemoryPointer:
    def __init__(self, memory: Memory, offset: int) -> None:
        self.mem, self.ptr = memory, memory.ptr + offset

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)


class ndarray:  # noqa: N801 - CuPy's name
    """A view of "the device"; its capsule is NumPy's, as host memory is what it lies in."""

    def __init__(self, shape: tuple[int, ...], dtype: str, memory: MemoryPointer) -> None:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        raw = (ctypes.c_uint8 * size).from_address(memory.ptr)
        self.seen = np.frombuffer(raw, dtype).reshape(shape)
        self.memory = memory

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        here = self.seen.__array_interface__
        return {**here, "version": 3, "stream": CURRENT[-1].ptr if CURRENT else 1}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: Any = None) -> Any:
        WAITED.append((stream, CURRENT[-1].ptr if CURRENT else 1))
        return self.seen.__dlpack__()


def from_dlpack(array: ndarray) -> ndarray:
    assert CURRENT, "the producer has to know which stream waits"
    array.__dlpack__(stream=CURRENT[-1].ptr)
    return array


CURRENT: list[Stream] = []
"""Streams whose context is entered."""
WAITED: list[Any] = []
"""What was waited for: consumer and producer of a capsule, a stream, or the device."""


class Pinned(bytearray):
    """Pinned host memory."""

    @property
    def ptr(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self))


class Context:
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Stream(Context):
    """Runs at once, or notes what a graph is captured of."""

    def __enter__(self) -> Any:
        CURRENT.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        CURRENT.pop()

    def __init__(self, non_blocking: bool) -> None:
        assert non_blocking, "a graph is captured on a stream of its own"
        self.ptr = id(self)
        self.captured: list[Callable[[], None]] | None = None
        STREAMS[self.ptr] = self

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> SimpleNamespace:
        calls, self.captured = self.captured or [], None
        GRAPHS.append(0)
        index = len(GRAPHS) - 1

        def launch(stream: Stream) -> None:
            assert stream is self
            GRAPHS[index] += 1
            for call in calls:
                call()

        return SimpleNamespace(launch=launch)

    def run(self, call: Callable[[], None]) -> None:
        if self.captured is None:
            call()
        else:
            self.captured.append(call)

    def record(self) -> Any:
        return self

    @property
    def done(self) -> bool:
        return True

    def wait_event(self, event: Any) -> None:
        assert event is not self, "a stream need not wait for itself"
        assert self.captured is None, "waited while a graph is captured"

    def synchronize(self) -> None:
        assert self.captured is None, "waited while a graph is captured"


STREAMS: dict[int, Stream] = {}
GRAPHS: list[int] = []
"""How often each graph was launched."""


def _copy(to: int, source: int, nbytes: int, kind: int, stream: int) -> None:
    assert STREAMS[stream].captured is None, "copied while a graph is captured"
    ctypes.memmove(to, source, nbytes)


def _fill(to: int, value: int, nbytes: int, stream: int) -> None:
    ctypes.memset(to, value, nbytes)


class Module:
    def load(self, code: bytes) -> None:
        runtime()  # what the library leaves undefined
        self.loaded = ctypes.CDLL(code.decode())

    def get_function(self, entry: str) -> SimpleNamespace:
        return SimpleNamespace(ptr=ctypes.cast(getattr(self.loaded, entry), ctypes.c_void_p).value)


ALLOWED_SHARED: dict[int, int] = {}


def _allow_shared(function: int, attribute: int, value: int) -> None:
    ALLOWED_SHARED[function] = value


def _launch(
    function: int, x: int, y: int, z: int, threads: int, by: int, bz: int,
    shared: int, stream: int, parameters: int, extra: int,
) -> None:  # fmt: skip
    assert shared <= ALLOWED_SHARED.get(function, 48 * 1024), "shared memory was not asked for"
    block = ctypes.c_void_p.from_address(parameters).value
    grid = (ctypes.c_uint * 3)(x, y, z)
    library = runtime()

    def call() -> None:
        library.sim_setting(2, 5, 0)
        launch, size = library["sim_launch"], ctypes.c_size_t(shared)
        launch.restype = ctypes.c_char_p
        kernel, where = ctypes.c_void_p(function), ctypes.c_void_p(block)
        wrong = launch(kernel, grid, threads, size, where)
        assert not wrong, wrong

    STREAMS[stream].run(call)


def libraries(units: Iterable[Unit], capability: int) -> dict[str, bytes]:
    """In the place of `cubins`: the path of each unit's library."""
    paths: dict[str, Path] = {unit.entry: DEVICE._library(unit) for unit in units}
    return {entry: str(path).encode() for entry, path in paths.items()}


class Device(Context):
    compute_capability = "90"

    def __init__(self, index: int) -> None:
        assert index == 0


cuda = SimpleNamespace(
    Device=Device,
    Stream=Stream,
    Memory=Memory,
    MemoryPointer=MemoryPointer,
    function=SimpleNamespace(Module=Module),
    alloc_pinned_memory=Pinned,
    driver=SimpleNamespace(
        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
        funcSetAttribute=_allow_shared,
        launchKernel=_launch,
    ),
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        memGetInfo=lambda: (LARGEST, LARGEST),
        memcpyAsync=_copy,
        memsetAsync=_fill,
        streamSynchronize=WAITED.append,
        deviceSynchronize=lambda: WAITED.append("device"),
        memcpyDeviceToHost=2,
        memcpyHostToDevice=1,
        memcpyDeviceToDevice=3,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda index: {"name": b"Stand-in"},
    ),
)
