"""The CUDA device: CuPy for memory, streams, modules and graphs; the kernels are `kernels/`.

The only module that imports CuPy, and only when a device is made.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from minidl import cards
from minidl.devices.architecture import ArchitectureError, require_kernels_run
from minidl.devices.cubins import cubins
from minidl.devices.device import Call, bytes_of, free_memory, in_order
from minidl.devices.given import CUDA, Given, OnDevice, dlpack_device, host_array
from minidl.devices.kernels import Unit, bind
from minidl.devices.presence import (
    DeviceError,
    first_use,
    require_device,
    version,
    without_cupy,
)
from minidl.ir import ArenaTooLargeError, ArgumentError, Array, Shape, Tensor, format_size
from minidl.ir.card import Card
from minidl.ir.tensor import row_major
from minidl.ops.cuda import Launch
from minidl.placed.graph import PlacedGraph

__all__ = ["CudaDevice", "DeviceError"]

STATIC_SHARED = 48 * 1024
"""Shared memory of a block beyond which a kernel has to ask for it."""


class CudaDevice:
    """One NVIDIA GPU of compute capability 8.0 or newer.

    graphs: run a step as one CUDA graph; without, kernel by kernel, for debugging.
    """

    name = "cuda"
    on_host = False

    def __init__(self, index: int = 0, graphs: bool = True) -> None:
        self.cupy = _cupy()
        self.runtime = self.cupy.cuda.runtime
        require_device(self.runtime, index)
        self.index, self.graphs = index, graphs
        self._device = self.cupy.cuda.Device(index)
        self.capability = int(self._device.compute_capability)
        properties = self.runtime.getDeviceProperties(index)
        _require_capability(self.capability, _name(properties))
        self.card = _card(properties, self.capability)
        with first_use(self.runtime, index), self._device:
            self.stream = self.cupy.cuda.Stream(non_blocking=True)
            self.copies = self.cupy.cuda.Stream(non_blocking=True)
            self.staging = Staging(self.cupy, self.stream)
            self.staging_ahead = Staging(self.cupy, self.copies)
        self._moved: Any = None
        self._arriving: list[tuple[Any, Any]] = []
        self.functions: dict[str, Any] = {}
        self._modules: list[Any] = []
        self._allowed: dict[str, int] = {}

    # -- memory --------------------------------------------------------------------------------

    def available(self) -> int | None:
        with self._device:
            free, _ = self.runtime.memGetInfo()
        return int(free)

    def allocate(self, nbytes: int, alignment: int) -> Any:
        """One cudaMalloc, outside of any pool; ArenaTooLargeError where it fails."""
        with self._device, self._room(f"{format_size(nbytes)} in one piece"):
            memory = self.cupy.cuda.Memory(nbytes + max(0, alignment - 256))
        return self.cupy.cuda.MemoryPointer(memory, -memory.ptr % alignment)

    @contextmanager
    def _room(self, what: str) -> Iterator[None]:
        """ArenaTooLargeError where the GPU has no memory for what is done inside."""
        try:
            yield
        except (self.runtime.CUDARuntimeError, self.cupy.cuda.driver.CUDADriverError) as error:
            if "MemoryAllocation" not in str(error) and "OUT_OF_MEMORY" not in str(error):
                raise
            raise ArenaTooLargeError(
                f"the device refused {what}: {free_memory(self, self.available() or 0)}",
                "use a smaller batch, memory='arena', or budget=",
            ) from None

    def read(self, memory: Any, offset: int, nbytes: int) -> Array:
        return self.later(memory, offset, nbytes)()

    def later(self, memory: Any, offset: int, nbytes: int) -> Callable[[], Array]:
        """Copy to pinned memory behind all calls made so far; the result waits for that."""
        with self._device:
            pinned = self.cupy.cuda.alloc_pinned_memory(max(1, nbytes))
            self.runtime.memcpyAsync(
                pinned.ptr,
                memory.ptr + offset,
                nbytes,
                self.runtime.memcpyDeviceToHost,
                self.stream.ptr,
            )
            arrived = self.stream.record()
        # CuPy's pool knows no streams: pinned memory outlives the copy, whoever drops the result
        self._arriving = [pair for pair in self._arriving if not pair[1].done]
        self._arriving.append((pinned, arrived))

        def result() -> Array:
            arrived.synchronize()
            return np.frombuffer(pinned, np.uint8, nbytes).copy()

        return result

    def write(self, memory: Any, offset: int, data: Array) -> None:
        with self._device:
            self.staging.copy(memory.ptr + offset, bytes_of(data))

    def write_ahead(self, memory: Any, offset: int, data: Array) -> None:
        with self._device:
            if self._moved is not None:
                self.copies.wait_event(self._moved)
            self.staging_ahead.copy(memory.ptr + offset, bytes_of(data))

    def after_copies(self) -> None:
        with self._device:
            self.stream.wait_event(self.copies.record())

    def move(self, memory: Any, to: int, offset: int, nbytes: int) -> None:
        runtime = self.runtime
        self.after_copies()
        with self._device:
            runtime.memcpyAsync(
                memory.ptr + to,
                memory.ptr + offset,
                nbytes,
                runtime.memcpyDeviceToDevice,
                self.stream.ptr,
            )
            self._moved = self.stream.record()

    def given(self, value: Any) -> Given:
        """Arrays of CuPy, PyTorch and others on this GPU as they lie, once their libraries have
        written them; anything else as NumPy has it."""
        kind, index = dlpack_device(value)
        if kind == CUDA and index != self.index:
            raise ArgumentError(f"the array lies on GPU {index}, the step runs on GPU {self.index}")
        if kind != CUDA and not hasattr(value, "__cuda_array_interface__"):
            return host_array(value)
        with self._device, self.stream:
            array = self.cupy.from_dlpack(value) if kind == CUDA else value
            return self._described(array.__cuda_array_interface__, array)

    def _described(self, interface: dict[str, Any], owner: Any) -> OnDevice:
        """https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html, version 3."""
        shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
        steps = [dtype.itemsize * step for step in row_major(shape)]
        strides = interface.get("strides") or steps
        apart = zip(shape, strides, steps, strict=True)
        if interface.get("mask") is not None or any(n > 1 and a != b for n, a, b in apart):
            raise ArgumentError(
                f"the array of shape {shape} on the GPU is masked, or its elements are not side "
                "by side, row-major",
                "make it contiguous",
            )
        stream = interface.get("stream", 0)
        if stream == 0:  # before version 3 a library does not say which stream writes the array
            self.runtime.deviceSynchronize()
        elif stream not in (None, self.stream.ptr):
            self.runtime.streamSynchronize(stream)
        return OnDevice(self, interface["data"][0], shape, dtype, owner)

    def write_from_device(self, memory: Any, offset: int, array: OnDevice) -> None:
        """Copy within the GPU, and wait for it: the array can then be written again."""
        to, kind = memory.ptr + offset, self.runtime.memcpyDeviceToDevice
        with self._device:
            self.runtime.memcpyAsync(to, array.ptr, array.nbytes, kind, self.stream.ptr)
            self.stream.synchronize()

    def array(self, memory: Any, offset: int, shape: Shape, dtype: str) -> Any:
        """Bytes of the memory as an array of CuPy, which keeps it."""
        with self._device:
            return self.cupy.ndarray(shape, dtype, memory + offset)

    def fill(self, memory: Any, offset: int, nbytes: int, value: int) -> None:
        with self._device:
            self.runtime.memsetAsync(memory.ptr + offset, value, nbytes, self.stream.ptr)

    # -- kernels -------------------------------------------------------------------------------

    def bind(self, plan: PlacedGraph, memory: Any, arrays: Mapping[Tensor, Array]) -> list[Call]:
        with self._device:
            return bind(plan, memory.ptr, self)

    def prepare(self, units: list[Unit]) -> None:
        missing = [unit for unit in units if unit.entry not in self.functions]
        for entry, code in cubins(missing, self.capability).items():
            module = self.cupy.cuda.function.Module()
            with self._room("memory for the kernels beside the arena"):
                module.load(code)
            self._modules.append(module)
            self.functions[entry] = module.get_function(entry)

    def launch(self, unit: Unit, launch: Launch, parameters: bytes) -> Call:
        driver = self.cupy.cuda.driver
        function = self.functions[unit.entry].ptr
        if launch.shared > self._allowed.get(unit.entry, STATIC_SHARED):
            attribute = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            driver.funcSetAttribute(function, attribute, launch.shared)
            self._allowed[unit.entry] = launch.shared  # of all launches that share the kernel
        block = ctypes.create_string_buffer(parameters, len(parameters))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(block))
        where = ctypes.addressof(pointers)
        (x, y, z), threads, shared = launch.grid, launch.threads, launch.shared
        stream, start = self.stream.ptr, driver.launchKernel

        def call(keep: tuple[Any, ...] = (block, pointers)) -> None:
            start(function, x, y, z, threads, 1, 1, shared, stream, where, 0)

        return call

    def whole(self, calls: list[Call]) -> Call:
        """The calls as one graph. The first run is eager, so that the driver has loaded every
        kernel before the second is captured; from then on a run is one launch."""
        each = in_order(calls)
        if not self.graphs:
            return each
        graph: Any = None
        runs = 0

        def run() -> None:
            nonlocal graph, runs
            runs += 1
            if runs == 1:
                each()
                return
            if graph is None:
                graph = self._captured(each)
            graph.launch(self.stream)

        return run

    def _captured(self, call: Call) -> Any:
        with self.stream, self._room("memory for the step's graph beside the arena"):
            self.stream.begin_capture()
            try:
                call()
            except BaseException:
                with suppress(self.runtime.CUDARuntimeError):  # that the capture is broken off
                    self.stream.end_capture()
                raise
            return self.stream.end_capture()

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._device:
            yield

    def synchronize(self) -> None:
        self.stream.synchronize()


class Staging:
    """Pinned memory on the way to the device: two blocks in turn, so that one is filled while the
    copy from the other is still under way."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self.cupy, self.stream = cupy, stream
        self.blocks: list[Any] = [None, None]
        self.sizes = [0, 0]
        self.busy: list[Any] = [None, None]
        self.turn = 0

    def copy(self, to: int, data: Array) -> None:
        """Start a copy of bytes to a device address, behind all calls made so far."""
        turn, self.turn = self.turn, 1 - self.turn
        if self.busy[turn] is not None:
            self.busy[turn].synchronize()
        if self.sizes[turn] < data.size:
            self.blocks[turn] = self.cupy.cuda.alloc_pinned_memory(data.size)
            self.sizes[turn] = data.size
        block = self.blocks[turn]
        np.frombuffer(block, np.uint8, data.size)[...] = data
        runtime = self.cupy.cuda.runtime
        runtime.memcpyAsync(to, block.ptr, data.size, runtime.memcpyHostToDevice, self.stream.ptr)
        self.busy[turn] = self.stream.record()


def _cupy() -> Any:
    try:
        import cupy
    except Exception as error:
        raise without_cupy(error) from None
    return cupy


def _card(properties: Mapping[str, Any], capability: int) -> Card:
    """What CUDA says of the device (cudaDeviceProp), as a card."""
    count = properties["multiProcessorCount"]
    return cards.present(_name(properties), capability, count, properties["totalGlobalMem"])


def _require_capability(capability: int, name: str) -> None:
    try:
        require_kernels_run(capability, name)
    except ArchitectureError as error:
        raise DeviceError(error.message, error.hint) from None


def _name(properties: Mapping[str, Any]) -> str:
    name = properties["name"]
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def installed() -> Iterator[tuple[str, str]]:
    """Name and value of what the device stands on, until something is missing: DeviceError."""
    cupy = _cupy()
    runtime = cupy.cuda.runtime
    yield "CuPy", str(cupy.__version__)
    require_device(runtime, 0)
    yield "driver", f"for CUDA {version(runtime.driverGetVersion())} and older"
    for index in range(runtime.getDeviceCount()):
        properties = runtime.getDeviceProperties(index)
        capability = f"{properties['major']}.{properties['minor']}"
        memory = format_size(properties["totalGlobalMem"])
        yield f"GPU {index}", f"{_name(properties)}, compute capability {capability}, {memory}"
