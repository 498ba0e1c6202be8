"""Compiled kernels, their limits and their launches."""

from __future__ import annotations

import ctypes
import functools
import itertools
import json
import operator
import re
from dataclasses import dataclass
from typing import Any

from minidl.devices.kernels import Unit
from minidl.devices.nvrtc import CompileError
from tests.simulator.build import SimulatorError, Toolchain
from tests.simulator.device import runtime
from tests.simulator.fake.errors import (
    INVALID_HANDLE,
    INVALID_IMAGE,
    INVALID_VALUE,
    NO_BINARY,
    NOT_FOUND,
    OUT_OF_MEMORY,
    OUT_OF_RESOURCES,
    CUDADriverError,
)
from tests.simulator.fake.machine import BLOCK, GRID, MACHINE, PARAMETERS, SHARED, THREADS, Card
from tests.simulator.fake.streams import Entry, stream_of

MAX_DYNAMIC_SHARED = 8
"""CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES."""
CODE = 16 * 2**10
"""Bytes of a card's memory that a module's code takes: some such number."""
HANDLES = itertools.count(0x560000000000, 16)


# -- code ------------------------------------------------------------------------------------------


def code_of(units: list[Unit], architecture: str, toolchain: Toolchain) -> dict[str, bytes]:
    """For each unit what NVRTC and ptxas would put into a cubin."""
    headers = {unit.entry: header(unit, architecture) for unit in units}
    toolchain.prepare(units)
    paths = {unit.entry: str(toolchain.of(unit).path(unit.source)) for unit in units}
    return {
        entry: json.dumps({**head, "path": paths[entry]}).encode()
        for entry, head in headers.items()
    }


def header(unit: Unit, architecture: str) -> dict[str, Any]:
    """What a unit says of its kernel; CompileError where ptxas would refuse it."""
    found = re.search(r"^KERNEL\((\w+), (\d+), (\d+), \d+, ", unit.source, re.MULTILINE)
    assert found, unit.source
    entry, threads, parameters = found[1], int(found[2]), int(found[3])
    if parameters > PARAMETERS:
        raise CompileError(
            f"{entry} for {architecture}: ptxas error   : Formal parameter space overflowed "
            f"({parameters} bytes required, max {PARAMETERS} bytes allowed) in function {entry}"
        )
    return {
        "architecture": architecture,
        "entry": entry,
        "threads": threads,
        "parameters": parameters,
        "static": 0,
    }


def runs_on(architecture: str, capability: int) -> bool:
    """Whether a card takes code: machine code (sm_) of its major version and a minor not above its
    own, PTX (compute_) of any version not above, what ends in `a` on that very version alone.
    CUDA C++ Programming Guide, "Binary Compatibility", "PTX Compatibility"."""
    found = re.fullmatch(r"(sm|compute)_(\d+)([af]?)", architecture)
    assert found, architecture
    version = int(found[2])
    if found[3] == "a":
        return version == capability
    same_major = version // 10 == capability // 10
    return version <= capability and (same_major or (found[1] == "compute" and not found[3]))


# -- modules ---------------------------------------------------------------------------------------


@dataclass
class Loaded:
    """A kernel in a context."""

    card: Card
    address: int
    threads: int
    """At most, by its launch bounds."""
    parameters: int
    static: int
    dynamic: int
    """Dynamic shared memory at most, as far as it was asked for."""


FUNCTIONS: dict[int, Loaded] = {}
"""By handle; gone with their module."""


class Function:
    def __init__(self, module: Module, name: str) -> None:
        self.module, self.ptr = module, next(HANDLES)
        FUNCTIONS[self.ptr] = module._loaded(name)
        module.handles.append(self.ptr)


class Module:
    def __init__(self) -> None:
        self.handles: list[int] = []

    def load(self, cubin: bytes) -> None:
        if not isinstance(cubin, bytes):
            raise TypeError(f"Expected bytes, got {type(cubin).__name__}")
        self.card = MACHINE.enter(CUDADriverError, may_capture=False)
        try:
            self.head = json.loads(cubin)
        except ValueError:
            raise CUDADriverError(INVALID_IMAGE) from None
        if not runs_on(self.head["architecture"], self.card.capability):
            raise CUDADriverError(NO_BINARY)
        if self.card.free < CODE:
            raise CUDADriverError(OUT_OF_MEMORY)
        self.card.context += CODE
        runtime()  # what the library leaves undefined
        self.code = ctypes.CDLL(self.head["path"])

    def get_function(self, name: str) -> Function:
        return Function(self, name)

    def _loaded(self, name: str) -> Loaded:
        MACHINE.enter(CUDADriverError)
        head = self.head
        if name != head["entry"]:
            raise CUDADriverError(NOT_FOUND)
        address = ctypes.cast(getattr(self.code, name), ctypes.c_void_p).value
        assert address
        sizes = head["threads"], head["parameters"], head["static"]
        return Loaded(self.card, address, *sizes, dynamic=SHARED - head["static"])

    def __del__(self) -> None:
        if hasattr(self, "library"):
            self.card.context -= CODE
        for handle in self.handles:
            FUNCTIONS.pop(handle, None)


def _function(handle: int) -> Loaded:
    found = FUNCTIONS.get(handle)
    if found is None or found.card is not MACHINE.card():
        raise CUDADriverError(INVALID_HANDLE)
    return found


def func_set_attribute(f: int, attribute: int, value: int) -> None:
    """cuFuncSetAttribute: static and dynamic shared memory together have the card's limit."""
    MACHINE.enter(CUDADriverError)
    function = _function(f)
    if attribute != MAX_DYNAMIC_SHARED:
        raise CUDADriverError(INVALID_VALUE)
    if not 0 <= value <= function.card.shared_opt_in - function.static:
        raise CUDADriverError(INVALID_VALUE)
    function.dynamic = value


# -- launches --------------------------------------------------------------------------------------


def launch_kernel(
    f: int,
    grid_dim_x: int,
    grid_dim_y: int,
    grid_dim_z: int,
    block_dim_x: int,
    block_dim_y: int,
    block_dim_z: int,
    shared_mem_bytes: int,
    stream: int,
    kernel_params: int,
    extra: int,
) -> None:
    """cuLaunchKernel: the parameters are copied now, the kernel runs later."""
    card = MACHINE.enter(CUDADriverError)
    function = _function(f)
    where = stream_of(stream, CUDADriverError, card)
    grid = [_unsigned_int(n) for n in (grid_dim_x, grid_dim_y, grid_dim_z)]
    block = [_unsigned_int(n) for n in (block_dim_x, block_dim_y, block_dim_z)]
    threads = block[0] * block[1] * block[2]
    sizes = zip((*grid, *block), (*GRID, *BLOCK), strict=True)
    if any(not 1 <= size <= most for size, most in sizes) or threads > THREADS:
        raise CUDADriverError(INVALID_VALUE)
    if _unsigned_int(shared_mem_bytes) > function.dynamic or extra:
        raise CUDADriverError(INVALID_VALUE)
    if threads > function.threads:
        raise CUDADriverError(OUT_OF_RESOURCES)
    assert block[1:] == [1, 1], "the simulator has blocks of one row"
    (source,) = (ctypes.c_void_p * 1).from_address(kernel_params)
    assert source
    parameters = ctypes.string_at(source, function.parameters)
    address = function.address
    where.put(Entry(lambda: _run(address, grid, threads, shared_mem_bytes, parameters)))
    MACHINE.progress()


def _run(address: int, grid: list[int], threads: int, shared: int, parameters: bytes) -> None:
    runtime().sim_setting(2, 5, 0)
    wrong = _sim_launch()(address, (ctypes.c_uint * 3)(*grid), threads, shared, parameters)
    if wrong:
        raise SimulatorError(wrong.decode())


@functools.cache
def _sim_launch() -> Any:
    return runtime().sim_launch


def _unsigned_int(value: int) -> int:
    """As Cython converts to unsigned int."""
    if not 0 <= operator.index(value) < 2**32:
        raise OverflowError(f"can't convert {value} to unsigned int")
    return value
