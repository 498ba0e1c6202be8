"""The stand-in for CuPy is as strict as a GPU: what each refuses, with CUDA's own words."""

from __future__ import annotations

import ast
import ctypes
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.devices import cuda as cuda_device
from minidl.devices.kernels import Unit
from minidl.devices.nvrtc import CompileError
from tests.simulator import fake_cupy
from tests.simulator.build import COMPILER, SimulatorError
from tests.simulator.fake.errors import CUDADriverError, CUDARuntimeError
from tests.simulator.fake.machine import CONTEXT, SHARED_OPT_IN, Machine
from tests.simulator.fake.modules import code_of, header, runs_on
from tests.simulator.fake.signatures import SIGNATURES, differences

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

KIB = 1024
cuda = fake_cupy.cuda
runtime, driver = cuda.runtime, cuda.driver


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    yield fake_cupy.install(monkeypatch, schedule="lazy")
    fake_cupy.reset()


def kernel(name: str, does: str) -> Unit:
    """A kernel of one block of threads that gets the address of some floats."""
    return Unit(
        name,
        f"""#include "platform.cuh"
struct Of_{name} {{
    struct Params {{ float* at; }};
    using Shared = Nothing;
    static __device__ void run(const Params& p, Shared&) {{ {does} }}
}};
KERNEL({name}, 256, 8, 0, Of_{name})
""",
    )


SHARED = "float* shared = static_cast<float*>(sim_shared()); "
KERNELS = {
    unit.entry: unit
    for unit in (
        kernel("count", "p.at[threadIdx.x] += 1.f;"),
        kernel("load_at_1", "float x[4]; load(x, p.at + 1); p.at[0] = x[0];"),
        kernel("load_at_4", "float x[4]; load(x, p.at + 4); p.at[0] = x[0];"),
        kernel("store_at_2", "const float x[4] = {}; store(p.at + 2, x);"),
        kernel("pair_at_1", "float x[2]; load(x, p.at + 1); p.at[0] = x[0];"),
        kernel("copy_at_2", SHARED + "copy_async<16>(shared, p.at + 2, true); wait_copies<0>();"),
        kernel("copy_to_1", SHARED + "copy_async<8>(shared + 1, p.at, true); wait_copies<0>();"),
        kernel("copy_none", SHARED + "copy_async<16>(shared, p.at + 1, false);"),
        kernel("copy_12", SHARED + "copy_async<12>(shared, p.at, true);"),
        kernel("copy_out", "copy_async<16>(p.at, p.at, true);"),
        kernel("matrices", SHARED + "uint32 to[4]; load_matrices<false>(to, shared + 2);"),
    )
}


class Kernel:
    """A kernel on the card, and a launch of it on floats."""

    def __init__(self, name: str = "count", architecture: str = "sm_90a", **changes: Any) -> None:
        code = code_of(list(KERNELS.values()), architecture, fake_cupy.DEVICE.toolchain)[name]
        self.module = cuda.function.Module()
        self.module.load(json.dumps({**json.loads(code), **changes}).encode())
        self.ptr = self.module.get_function(name).ptr
        self.stream = cuda.Stream(non_blocking=True)
        self.memory = cuda.Memory(4096)
        runtime.memsetAsync(self.memory.ptr, 0, 4096, self.stream.ptr)

    def allow(self, shared: int) -> None:
        attribute = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        driver.funcSetAttribute(self.ptr, attribute, shared)

    def launch(
        self,
        grid: tuple[int, int, int] = (1, 1, 1),
        block: tuple[int, int, int] = (32, 1, 1),
        shared: int = 0,
    ) -> None:
        address = ctypes.c_void_p(self.memory.ptr)
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(address))
        where = ctypes.addressof(pointers)
        driver.launchKernel(self.ptr, *grid, *block, shared, self.stream.ptr, where, 0)

    def floats(self) -> np.ndarray[Any, Any]:
        """What lies there now, whatever is still to come."""
        return np.frombuffer((ctypes.c_float * 1024).from_address(self.memory.ptr), np.float32)


invalid_value = pytest.raises(CUDADriverError, match="CUDA_ERROR_INVALID_VALUE: invalid argument")


# -- names -----------------------------------------------------------------------------------------


PREFIXES = {
    "self.cupy": "",
    "cupy": "",
    "self.runtime": "cuda.runtime.",
    "runtime": "cuda.runtime.",
    "driver": "cuda.driver.",
    "module": "cuda.function.Module.",
    "graph": "cuda.Graph.",
    "arrived": "cuda.Event.",
    "self._device": "cuda.Device.",
    "self.stream": "cuda.Stream.",
    "self.copies": "cuda.Stream.",
}


def test_the_device_uses_what_cupy_has() -> None:
    """All that minidl/devices/cuda.py names of CuPy is in the table, and here as the table says."""
    assert differences(fake_cupy) == []
    source = Path(str(cuda_device.__file__)).read_text(encoding="utf-8")
    chains = {ast.unparse(n) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute)}
    used = {
        PREFIXES[start] + chain.removeprefix(start + ".")
        for chain in chains
        for start in PREFIXES
        if chain.startswith(start + ".")
    }
    used -= {
        "__version__",
        "cuda",
        "cuda.runtime",
        "cuda.driver",
        "cuda.function",
        "cuda.Stream.ptr",
    }
    assert used >= {"cuda.Memory", "cuda.driver.launchKernel", "cuda.Event.synchronize"}
    assert used <= SIGNATURES.keys(), used - SIGNATURES.keys()


# -- launches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("capability", SHARED_OPT_IN)
def test_shared_memory(capability: int) -> None:
    fake_cupy.reset(capability, schedule="lazy")
    most = SHARED_OPT_IN[capability] * KIB
    assert (
        most
        == {8: {0: 163, 7: 163}.get(capability % 10, 99), 9: 227, 10: 227}.get(
            capability // 10, 64 if capability == 75 else 99
        )
        * KIB
    )
    kernel = Kernel(architecture=f"sm_{capability}")
    kernel.launch(shared=48 * KIB)
    with invalid_value:
        kernel.launch(shared=48 * KIB + 1)
    with invalid_value:
        kernel.allow(most + 1)
    kernel.allow(most)
    kernel.launch(shared=most)
    kernel.allow(1000)
    with invalid_value:
        kernel.launch(shared=1001)


def test_static_and_dynamic_shared_memory_together() -> None:
    kernel = Kernel(static=KIB)
    with invalid_value:
        kernel.launch(shared=47 * KIB + 1)
    kernel.launch(shared=47 * KIB)
    with invalid_value:
        kernel.allow(227 * KIB)
    kernel.allow(226 * KIB)


@pytest.mark.parametrize(
    ("grid", "block"),
    [
        ((0, 1, 1), (32, 1, 1)),
        ((1, 0, 1), (32, 1, 1)),
        ((1, 1, 0), (32, 1, 1)),
        ((2**31, 1, 1), (32, 1, 1)),
        ((1, 65_536, 1), (32, 1, 1)),
        ((1, 1, 65_536), (32, 1, 1)),
        ((1, 1, 1), (0, 1, 1)),
        ((1, 1, 1), (1025, 1, 1)),
        ((1, 1, 1), (1, 1, 65)),
        ((1, 1, 1), (256, 5, 1)),
    ],
)
def test_grids_and_blocks(grid: tuple[int, int, int], block: tuple[int, int, int]) -> None:
    kernel = Kernel(threads=1024)
    with invalid_value:
        kernel.launch(grid, block)


def test_more_of_a_launch() -> None:
    kernel = Kernel()
    kernel.launch((2**31 - 1, 65_535, 65_535))  # never waited for
    kernel.stream.queue.clear()
    with pytest.raises(CUDADriverError, match="CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"):
        kernel.launch(block=(257, 1, 1))  # its bounds are 256
    with pytest.raises(OverflowError):
        kernel.launch((2**32, 1, 1))
    with pytest.raises(CUDADriverError, match="CUDA_ERROR_INVALID_HANDLE"):
        driver.launchKernel(kernel.ptr, 1, 1, 1, 32, 1, 1, 0, 12345, 0, 0)
    with pytest.raises(CUDADriverError, match="CUDA_ERROR_INVALID_HANDLE"):
        driver.launchKernel(kernel.ptr + 8, 1, 1, 1, 32, 1, 1, 0, kernel.stream.ptr, 0, 0)
    del kernel.module
    with pytest.raises(CUDADriverError, match="CUDA_ERROR_INVALID_HANDLE"):
        kernel.launch()


def test_parameters() -> None:
    def of(size: int) -> dict[str, Any]:
        return header(Unit("wide", f"KERNEL(wide, 256, {size}, 0, Wide)\n"), "sm_90a")

    assert of(4096)["parameters"] == 4096
    with pytest.raises(CompileError, match=r"4104 bytes required, max 4096"):
        of(4104)


def test_parameters_are_copied_at_the_launch() -> None:
    kernel = Kernel()
    address = ctypes.c_void_p(kernel.memory.ptr)
    pointers = (ctypes.c_void_p * 1)(ctypes.addressof(address))
    where, stream = ctypes.addressof(pointers), kernel.stream
    driver.launchKernel(kernel.ptr, 1, 1, 1, 32, 1, 1, 0, stream.ptr, where, 0)
    address.value = 8
    stream.synchronize()
    assert kernel.floats()[:33].tolist() == [1.0] * 32 + [0.0]


# -- code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "runs", "not_on"),
    [
        ("sm_80", (80, 86, 89), (75, 90, 100, 120)),
        ("sm_86", (86, 89), (80, 90)),
        ("sm_90", (90,), (89, 100, 120)),
        ("sm_90a", (90,), (100, 103, 120)),
        ("sm_100", (100, 103), (90, 120)),
        ("sm_120", (120, 121), (100,)),
        ("compute_80", (80, 86, 90, 100, 120), (75,)),
        ("compute_90a", (90,), (100, 120)),
        ("sm_100f", (100, 103), (120,)),
    ],
)
def test_code_of_another_architecture(
    architecture: str, runs: tuple[int, ...], not_on: tuple[int, ...]
) -> None:
    assert [runs_on(architecture, card) for card in runs] == [True] * len(runs)
    assert [runs_on(architecture, card) for card in not_on] == [False] * len(not_on)


def test_a_module_is_loaded_where_it_runs() -> None:
    with pytest.raises(CUDADriverError, match="CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is"):
        Kernel(architecture="sm_86")
    module = cuda.function.Module()
    with pytest.raises(CUDADriverError, match="CUDA_ERROR_INVALID_IMAGE"):
        module.load(b"\x7fELF")
    with pytest.raises(TypeError):
        module.load("a path")
    kernel = Kernel()
    with pytest.raises(CUDADriverError, match="CUDA_ERROR_NOT_FOUND"):
        kernel.module.get_function("other")


def test_a_kernel_belongs_to_its_card() -> None:
    fake_cupy.reset(90, 90, schedule="lazy")
    kernel = Kernel()
    with cuda.Device(1):
        with pytest.raises(CUDADriverError, match="CUDA_ERROR_INVALID_HANDLE"):
            kernel.launch()
        with pytest.raises(RuntimeError, match="does not match with the current device"):
            kernel.stream.__enter__()
        event = cuda.Event()
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidResourceHandle"):
        kernel.stream.record(event)
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidDevice: invalid device ordinal"):
        cuda.Device(2).__enter__()


# -- accesses, and what becomes of the context -----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("load_at_1", "an access of 16 bytes that is not aligned"),
        ("store_at_2", "an access of 16 bytes that is not aligned"),
        ("pair_at_1", "an access of 8 bytes that is not aligned"),
        ("copy_at_2", "an access of 16 bytes that is not aligned"),
        ("copy_to_1", "an access of 8 bytes that is not aligned"),
        ("copy_none", "an access of 16 bytes that is not aligned"),
        ("copy_12", "an asynchronous copy of 12 bytes"),
        ("copy_out", "an asynchronous copy to what is not shared memory"),
        ("matrices", "an access of 16 bytes that is not aligned"),
    ],
)
def test_accesses(name: str, words: str) -> None:
    kernel = Kernel(name)
    kernel.launch(shared=1024)
    with pytest.raises(CUDARuntimeError) as caught:
        kernel.stream.synchronize()
    wrong = "MisalignedAddress" if "aligned" in words else "LaunchFailure"
    assert str(caught.value).startswith(f"cudaError{wrong}: ")
    assert words in str(caught.value.__cause__)


def test_aligned_accesses() -> None:
    kernel = Kernel("load_at_4")
    kernel.launch()
    kernel.stream.synchronize()


def test_a_context_is_lost_for_good() -> None:
    kernel, other = Kernel("load_at_1"), Kernel()
    event = other.stream.record()
    kernel.launch()
    with pytest.raises(CUDARuntimeError, match="cudaErrorMisalignedAddress: misaligned address"):
        runtime.deviceSynchronize()
    for call in (
        runtime.memGetInfo,
        runtime.deviceSynchronize,
        other.launch,
        other.stream.synchronize,
        event.synchronize,
        lambda: event.done,
        lambda: cuda.Memory(16),
        lambda: cuda.alloc_pinned_memory(16),
        lambda: cuda.Stream(non_blocking=True),
        lambda: runtime.memsetAsync(other.memory.ptr, 0, 4, other.stream.ptr),
    ):
        with pytest.raises((CUDARuntimeError, CUDADriverError), match="misaligned address"):
            call()


# -- events and copies -----------------------------------------------------------------------------


def test_an_event_is_done_when_it_was_waited_for() -> None:
    kernel = Kernel()
    kernel.launch()
    event = kernel.stream.record()
    kernel.launch()
    assert not event.done
    assert kernel.floats()[0] != 1
    event.synchronize()
    assert event.done
    assert kernel.floats()[0] == 1
    kernel.stream.synchronize()
    assert kernel.floats()[0] == 2
    assert cuda.Event().done, "never recorded"


@pytest.mark.parametrize("schedule", ["random", "eager"])
def test_work_goes_on_by_itself(schedule: str, machine: Machine) -> None:
    machine.schedule = schedule  # type: ignore[assignment]
    kernel = Kernel()
    kernel.launch()
    event = kernel.stream.record()
    assert schedule == "random" or event.done
    assert any(event.done for _ in range(1000))


def test_a_stream_waits_for_an_event_of_another() -> None:
    first, second = Kernel(), cuda.Stream(non_blocking=True)
    first.launch()
    second.wait_event(first.stream.record())
    first.launch()
    second.synchronize()
    assert first.floats()[0] == 1


def test_pinned_memory_is_filled_once_it_was_waited_for(machine: Machine) -> None:
    kernel = Kernel()
    kernel.launch()
    block = cuda.alloc_pinned_memory(128)
    assert len(block) == 512
    before = bytes(block)
    runtime.memcpyAsync(block.ptr, kernel.memory.ptr, 128, 2, kernel.stream.ptr)
    assert bytes(block) == before
    kernel.stream.synchronize()
    assert np.frombuffer(block, np.float32, 32).tolist() == [1.0] * 32
    runtime.memcpyAsync(block.ptr, kernel.memory.ptr, 128, 2, kernel.stream.ptr)
    del block
    with pytest.raises(SimulatorError, match="dropped while a copy was under way"):
        runtime.memGetInfo()


def test_pinned_memory_is_read_when_the_copy_runs() -> None:
    kernel, block = Kernel(), cuda.alloc_pinned_memory(4)
    np.frombuffer(block, np.float32, 1)[:] = 3
    runtime.memcpyAsync(kernel.memory.ptr, block.ptr, 4, 1, kernel.stream.ptr)
    np.frombuffer(block, np.float32, 1)[:] = 4
    kernel.stream.synchronize()
    assert kernel.floats()[0] == 4


def test_copies_end_where_memory_does() -> None:
    kernel, block = Kernel(), cuda.alloc_pinned_memory(512)
    memory, pageable = kernel.memory, np.zeros(8192, np.uint8)
    to, there, stream = memory.ptr, block.ptr, kernel.stream.ptr
    refused = (
        (to, there, 4097, 1),
        (to + 4000, there, 97, 1),
        (to - 1, there, 1, 1),
        (to, there, 513, 1),
        (there, to, 513, 2),
        (there, to + 4096, 1, 2),
        (to, to + 4000, 97, 3),
        (to + 4000, to, 97, 3),
        (to, there, 16, 2),  # the wrong way
        (to, there, 16, 3),
        (to, to, 16, 1),
        (to, there, 16, 7),
        (to, pageable.ctypes.data, 5000, 1),
    )
    for dst, src, size, kind in refused:
        with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidValue: invalid argument"):
            runtime.memcpyAsync(dst, src, size, kind, stream)
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidValue"):
        runtime.memsetAsync(to + 1, 0, 4096, stream)
    runtime.memcpyAsync(to, pageable.ctypes.data, 4096, 1, stream)
    runtime.memcpyAsync(to + 96, to, 4000, 3, stream)
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidValue"):
        fake_cupy.ndarray((1025,), "f4", cuda.MemoryPointer(memory, 0))


def test_memory_is_counted(machine: Machine) -> None:
    (card,) = machine.cards
    card.total = CONTEXT + 2**20
    assert runtime.memGetInfo() == (2**20, card.total)
    memory = cuda.Memory(2**19)
    assert runtime.memGetInfo() == (2**19, card.total)
    card.others = 2**18
    with pytest.raises(CUDARuntimeError, match="cudaErrorMemoryAllocation: out of memory"):
        cuda.Memory(2**18 + 1)
    cuda.Memory(2**18)
    del memory
    assert runtime.memGetInfo() == (2**20 - 2**18, card.total)


def test_a_context_needs_memory(machine: Machine) -> None:
    machine.cards[0].others = machine.cards[0].total - CONTEXT + 1
    with pytest.raises(CUDARuntimeError, match="cudaErrorMemoryAllocation"):
        cuda.Stream(non_blocking=True)


# -- capture ---------------------------------------------------------------------------------------


UNSUPPORTED = "operation not permitted when stream is capturing"
Refused = Callable[[Kernel], object]


@pytest.mark.parametrize(
    "call",
    [
        lambda kernel: cuda.Memory(16),
        lambda kernel: cuda.alloc_pinned_memory(16),
        lambda kernel: cuda.Stream(non_blocking=True),
        lambda kernel: kernel.stream.synchronize(),
        lambda kernel: runtime.deviceSynchronize(),
        lambda kernel: runtime.streamSynchronize(kernel.stream.ptr),
        lambda kernel: cuda.Event().synchronize(),
        lambda kernel: cuda.Event().done,
        lambda kernel: kernel.stream.done,
        lambda kernel: cuda.function.Module().load(b"{}"),
        lambda kernel: host_copy(kernel, pinned=False),
        lambda kernel: host_copy(kernel, pinned=True),
    ],
)
def test_a_capture_forbids(call: Refused) -> None:
    kernel = Kernel()
    kernel.block = cuda.alloc_pinned_memory(16)  # type: ignore[attr-defined]
    kernel.stream.begin_capture()
    kernel.launch()
    with pytest.raises((CUDARuntimeError, CUDADriverError), match=UNSUPPORTED):
        call(kernel)
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        kernel.stream.end_capture()
    kernel.stream.synchronize()
    assert kernel.floats()[0] == 0, "captured, not run"


def host_copy(kernel: Kernel, pinned: bool) -> None:
    block: Any = kernel.block if pinned else np.zeros(16, np.uint8)  # type: ignore[attr-defined]
    source = block.ptr if pinned else block.ctypes.data
    runtime.memcpyAsync(kernel.memory.ptr, source, 16, 1, kernel.stream.ptr)


def test_events_and_captures() -> None:
    kernel, other = Kernel(), cuda.Stream(non_blocking=True)
    uncaptured = other.record()
    kernel.stream.begin_capture()
    captured = kernel.stream.record()
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureIsolation"):
        kernel.stream.wait_event(uncaptured)
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        kernel.stream.end_capture()
    for call in (captured.synchronize, lambda: captured.done, lambda: other.wait_event(captured)):
        with pytest.raises(CUDARuntimeError, match="cudaErrorCapturedEvent"):
            call()
    with pytest.raises(CUDARuntimeError):
        kernel.stream.end_capture()


def test_a_graph_runs_when_it_is_launched() -> None:
    kernel = Kernel()
    kernel.stream.begin_capture()
    kernel.launch()
    kernel.launch()
    runtime.memcpyAsync(kernel.memory.ptr + 512, kernel.memory.ptr, 4, 3, kernel.stream.ptr)
    graph = kernel.stream.end_capture()
    kernel.stream.synchronize()
    assert kernel.floats()[0] == 0
    graph.launch(kernel.stream)
    assert kernel.floats()[0] == 0
    kernel.stream.synchronize()
    assert kernel.floats()[[0, 128]].tolist() == [2, 2]


# -- the driver ------------------------------------------------------------------------------------


def test_what_a_driver_says(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one as CuPy 14.2 was seen to; of others as CUDA's documents have it."""
    machine.driver = 0
    assert runtime.driverGetVersion() == 0
    with pytest.raises(CUDARuntimeError, match="cudaErrorInsufficientDriver: CUDA driver version"):
        runtime.getDeviceCount()
    machine.driver = 12080
    with pytest.raises(CUDARuntimeError, match="cudaErrorInsufficientDriver"):
        runtime.memGetInfo()
    machine.driver, machine.runtime = 13000, 13020
    assert runtime.getDeviceCount() == 1
    fake_cupy.reset(90, 80, 86)
    for visible, capabilities in (("2,0", [86, 90]), ("1", [80]), ("0,-1,2", [90])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert runtime.getDeviceCount() == len(capabilities)
        found = [int(cuda.Device(i).compute_capability) for i in range(len(capabilities))]
        assert found == capabilities
    for visible in ("", "-1", "7"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with pytest.raises(CUDARuntimeError, match="cudaErrorNoDevice: no CUDA-capable device is"):
            runtime.getDeviceCount()
