"""SimulatedDevice: compiles kernels by g++ and runs them on runtime.cpp, in host memory."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minidl.checkout import kernels_folder
from minidl.devices.cpu import HostMemory
from minidl.devices.device import Call
from minidl.devices.kernels import Unit, bind, sources_hash
from minidl.ir import Array, Op, Plan, Tensor
from minidl.launches import Launch

HERE = Path(__file__).parent
COMPILER = shutil.which("g++")

Order = Literal["ascending", "descending", "random"]
ORDERS: tuple[Order, ...] = ("ascending", "descending", "random")

COMMON = ("-std=c++17", "-fPIC", "-w", "-ffp-contract=off", "-fno-strict-aliasing")
KERNEL_FLAGS = {
    "plain": ("-O1", "-mfma"),
    "race": ("-O0", "-mfma", "-fsanitize=thread"),
    "address": ("-O1", "-g1", "-mfma", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
}
RUNTIME_FLAGS = {"plain": (), "race": ("-DSIM_RACE",), "address": ("-fsanitize=address",)}
VARIANT = os.environ.get("MINIDL_SIMULATOR", "plain")
"""One of KERNEL_FLAGS: what this process checks while kernels run."""


class SimulatorError(AssertionError):
    """A kernel that a GPU might run, wrongly: a race, a barrier that diverges, a bad address."""


def cache_folder() -> Path:
    """Where compiled kernels are kept; each is named by the digest of all it was made of."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"minidl-simulator-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def build(source: str, flags: tuple[str, ...], link: tuple[str, ...], folder: Path) -> Path:
    """Compile a C++ source to a shared library, or take the one made before."""
    digest = hashlib.sha256("\0".join((sources_hash(folder, HERE), source, *flags, *link)).encode())
    target = cache_folder() / f"{digest.hexdigest()[:32]}.so"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
        code, made, whole = (Path(scratch) / name for name in ("unit.cpp", "unit.o", "unit.so"))
        code.write_text(source)
        include = ("-include", str(HERE / "cuda_host.hpp"), f"-I{folder}", f"-I{HERE}")
        _run("g++", *COMMON, *flags, *include, "-c", str(code), "-o", str(made))
        _run("g++", "-shared", *link, str(made), "-o", str(whole))
        whole.replace(target)
    return target


def require_valid(units: Iterable[Unit]) -> None:
    """SimulatorError unless each unit is right C++: every template is instantiated, nothing built,
    which takes a fraction of the time."""
    of_files: dict[str, list[str]] = {}
    for unit in units:
        includes, _, instance = unit.source.rstrip().rpartition("\n")
        of_files.setdefault(includes, []).append(instance)
    include = ("-include", str(HERE / "cuda_host.hpp"), f"-I{kernels_folder()}", f"-I{HERE}")
    flags = (*COMMON, *KERNEL_FLAGS["plain"], "-fsyntax-only", *include, "-x", "c++", "-")
    for includes, instances in of_files.items():
        _run("g++", *flags, code="\n".join((includes, *instances, "")))


def _run(*command: str, code: str | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, input=code)
    if done.returncode:
        raise SimulatorError(f"{' '.join(command)}\n{done.stderr[:8000]}")


@functools.cache
def runtime() -> ctypes.CDLL:
    """runtime.cpp, and the race checker where this process runs it."""
    parts = ["runtime.cpp", *(["race.cpp"] if VARIANT == "race" else [])]
    source = "".join(f'#include "{HERE / part}"\n' for part in parts)
    flags = ("-O2", *RUNTIME_FLAGS[VARIANT])
    path = build(source, flags, RUNTIME_FLAGS[VARIANT], kernels_folder())
    library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
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


def _among_poison(call: Call, op: Op, plan: Plan, memory: Array) -> Call:
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

    def bind(self, plan: Plan, memory: Array, arrays: Mapping[Tensor, Array]) -> list[Call]:
        calls = bind(plan, memory.ctypes.data, self)
        if VARIANT != "address":
            return calls
        pairs = zip(calls, plan.graph.ops, strict=True)
        return [_among_poison(call, op, plan, memory) for call, op in pairs]

    def prepare(self, units: list[Unit]) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._library, units))

    def _library(self, unit: Unit) -> Path:
        link = tuple(f for f in KERNEL_FLAGS[VARIANT] if "fsanitize=address" in f)
        folder = self.sources or kernels_folder()
        return build(unit.source, KERNEL_FLAGS[VARIANT], link, folder)

    def launch(self, unit: Unit, launch: Launch, parameters: bytes) -> Call:
        library = runtime()
        kernel = ctypes.CDLL(str(self._library(unit)))
        entry = ctypes.cast(getattr(kernel, unit.entry), ctypes.c_void_p)
        grid = (ctypes.c_uint * 3)(*launch.grid)

        def run() -> None:
            library.sim_setting(ORDERS.index(self.order), self.seed, self.eager_copies)
            wrong = library.sim_launch(entry, grid, launch.threads, launch.shared, parameters)
            if wrong:
                raise SimulatorError(f"{wrong.decode()}: {launch.kernel}")

        return run
