"""The machine: versions, card, driver, clocks, compilers, commit, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from benchmarks.gpu.about import CLOCKS, commit, output_of
from benchmarks.gpu.names import DEVICE
from benchmarks.gpu.rows import MACHINE, Row
from benchmarks.gpu.worker import Worker
from minidl.devices import nvrtc
from minidl.devices.architecture import architecture_for
from minidl.ir import MinidlError

PACKAGES = (
    *("numpy", "cupy-cuda12x", "cupy-cuda13x", "cuda-bindings", "cuda-pathfinder"),
    *("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12", "torch", "torchvision"),
    *("pytest", "hypothesis", "tqdm"),
)
NEEDED = {
    "numpy": "everything",
    "cupy": "the CUDA device",
    "cuda.bindings": "compiling kernels; without it only carried cubins run",
    "pytest": "the table of ops and the small networks, which are the tests'",
    "torch": "times beside PyTorch",
    "torchvision": "times beside PyTorch",
    "tqdm": "the part cifar10",
}
"""Modules, and what is left out without them."""
NO_GPU = "none: kernels by g++"
"""The card of results that say nothing about speed."""
TOOLS = ("git", "g++", "nvcc", "ptxas", "cuobjdump", "ncu", "compute-sanitizer")


def environment(worker: Worker) -> None:
    worker.run(MACHINE, lambda: {"facts": _machine(worker)})
    worker.run("packages", lambda: {"facts": _packages()})
    worker.run("nvrtc", lambda: {"facts": {"NVRTC": _nvrtc()}})
    worker.run(DEVICE, lambda: {"facts": _device(worker)}, silence=60)


def _machine(worker: Worker) -> Row:
    query = f"--query-gpu={','.join(CLOCKS)},memory.total"
    return {
        "date": date.today().isoformat(),
        "commit": commit(),
        "seed": worker.settings.seed,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "glibc": platform.libc_ver()[1],
        "tools": [tool for tool in TOOLS if shutil.which(tool)],
        "nvidia-smi": output_of("nvidia-smi", query, "--format=csv,noheader") or "no answer",
    }


def _packages() -> Row:
    found: Row = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    missing = [f"{name} (for {why})" for name, why in NEEDED.items() if not _is_there(name)]
    return found | ({"missing, carry their wheels": missing} if missing else {})


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        return False


def _nvrtc() -> str:
    return nvrtc.dotted(nvrtc.version())


def _device(worker: Worker) -> Row:
    device = worker.device
    free = device.available()
    found: Row = {"capability": device.capability, "free GiB": round(free / 2**30, 1)}
    properties = device.runtime.getDeviceProperties(0)
    card, driver = properties["name"].decode(), _version(device.runtime.driverGetVersion())
    found["code"] = _code(device.capability)
    cupys = _version(device.runtime.runtimeGetVersion())
    if not worker.machine.IS_GPU:
        return found | {"card": NO_GPU, "planned for": card, "driver": "none"}
    return (
        {"card": card, "planned for": device.card.name, "driver": _driver(driver)}
        | found
        | {
            "multiprocessors": properties.get("multiProcessorCount"),
            "L2 MiB": properties.get("l2CacheSize", 0) / 2**20,
            "shared memory of a block": properties.get("sharedMemPerBlockOptin"),
            "CUDA of the driver / of CuPy": f"{driver} / {cupys}",
        }
    )


def _code(capability: int) -> str:
    """What kernels are compiled for, where NVRTC is there."""
    try:
        return architecture_for(capability, nvrtc.supported()).name
    except MinidlError as error:
        return str(error)


def _driver(cuda: str) -> str:
    """The driver's own version, where nvidia-smi says it, else its CUDA's."""
    said = output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return said.splitlines()[0] if said else f"of CUDA {cuda}"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
