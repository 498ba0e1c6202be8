"""SimulatedDevice: runs kernels, compiled by g++, on runtime.cpp, in host memory."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minidl.checkout import kernels_folder
from minidl.devices.cpu import HostMemory
from minidl.devices.device import Call
from minidl.devices.kernels import Unit, bind
from minidl.ir import Array, Op, Tensor
from minidl.ops.cuda import Launch
from minidl.placed.graph import PlacedGraph
from tests.simulator.build import HERE, SimulatorError, Toolchain

Order = Literal["ascending", "descending", "random"]
ORDERS: tuple[Order, ...] = ("ascending", "descending", "random")

KERNEL_FLAGS = {
    "plain": ("-O1", "-mfma"),
    "race": ("-O0", "-mfma", "-fsanitize=thread"),
    "address": ("-O0", "-g1", "-mfma", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
}
RUNTIME_FLAGS = {"plain": (), "race": ("-DSIM_RACE",), "address": ("-fsanitize=address",)}
VARIANT = os.environ.get("MINIDL_SIMULATOR", "plain")
"""One of KERNEL_FLAGS: what this process checks while kernels run."""


@functools.cache
def runtime() -> ctypes.CDLL:
    """runtime.cpp, and the race checker where this process runs it."""
    parts = ["runtime.cpp", *(["race.cpp"] if VARIANT == "race" else [])]
    source = "".join(f'#include "{HERE / part}"\n' for part in parts)
    flags = ("-O2", *RUNTIME_FLAGS[VARIANT])
    toolchain = Toolchain(flags, RUNTIME_FLAGS[VARIANT], kernels_folder())
    library = ctypes.CDLL(str(toolchain.made(source)), mode=ctypes.RTLD_GLOBAL)
    library.sim_launch.restype = ctypes.c_char_p
    library.sim_launch.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_size_t,
        ctypes.c_char_p,
    ]
    library.sim_setting.argtypes = [ctypes.c_int, ctypes.c_ulonglong, ctypes.c_int]
    return library


def _among_poison(call: Call, op: Op, plan: PlacedGraph, memory: Array) -> Call:
    """The call, with every byte of the arena poisoned that is no operand of the op."""
    sanitizer = ctypes.CDLL(None)
    poison, heal = (
        getattr(sanitizer, f"__asan_{verb}_memory_region") for verb in ("poison", "unpoison")
    )
    operands = dict.fromkeys(t.storage for t in (*op.writes, *op.reads))
    places = [(plan.offset(t), t.nbytes) for t in operands]
    base, size = memory.ctypes.data, memory.nbytes

    def run() -> None:
        poison(ctypes.c_void_p(base), ctypes.c_size_t(size))
        for offset, nbytes in places:
            heal(ctypes.c_void_p(base + offset), ctypes.c_size_t(nbytes))
        call()
        heal(ctypes.c_void_p(base), ctypes.c_size_t(size))

    return run


@dataclass
class SimulatedDevice(HostMemory):
    """A CUDA device in host memory; `order` of threads and blocks, and when cp.async copies."""

    order: Order = "random"
    seed: int = 0
    eager_copies: bool = False
    sources: Path | None = None
    """The folder of kernels, if not the project's: a mutant's."""
    name = "cuda"

    def running(self) -> AbstractContextManager[None]:
        return nullcontext()

    def bind(self, plan: PlacedGraph, memory: Array, arrays: Mapping[Tensor, Array]) -> list[Call]:
        calls = bind(plan, memory.ctypes.data, self)
        if VARIANT != "address":
            return calls
        pairs = zip(calls, plan.graph.ops, strict=True)
        return [_among_poison(call, op, plan, memory) for call, op in pairs]

    @property
    def toolchain(self) -> Toolchain:
        link = tuple(f for f in KERNEL_FLAGS[VARIANT] if "fsanitize=address" in f)
        return Toolchain(KERNEL_FLAGS[VARIANT], link, self.sources or kernels_folder())

    def prepare(self, units: list[Unit]) -> None:
        self.toolchain.prepare(units)

    def launch(self, unit: Unit, launch: Launch, parameters: bytes) -> Call:
        library = runtime()
        kernel = ctypes.CDLL(str(self.toolchain.of(unit).path(unit.source)))
        entry = ctypes.cast(getattr(kernel, unit.entry), ctypes.c_void_p)
        grid = (ctypes.c_uint * 3)(*launch.grid)

        def run() -> None:
            library.sim_setting(ORDERS.index(self.order), self.seed, self.eager_copies)
            wrong = library.sim_launch(entry, grid, launch.threads, launch.shared, parameters)
            if wrong:
                raise SimulatorError(f"{wrong.decode()}: {launch.kernel}")

        return run
