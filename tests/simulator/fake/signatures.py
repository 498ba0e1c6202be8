"""What of CuPy the CUDA device uses: names and parameters, as CuPy 14.2 has them.

`python -m tests.simulator.fake.signatures` compares the CuPy that is installed; it needs no GPU.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

SIGNATURES: dict[str, tuple[str, ...] | None] = {
    "cuda.Device": ("device",),
    "cuda.Device.compute_capability": None,
    "cuda.Event.done": None,
    "cuda.Event.synchronize": (),
    "cuda.Graph.launch": ("stream",),
    "cuda.Memory": ("size",),
    "cuda.MemoryPointer": ("mem", "offset"),
    "cuda.Stream": ("null", "non_blocking", "ptds", "priority"),
    "cuda.Stream.begin_capture": ("mode",),
    "cuda.Stream.end_capture": (),
    "cuda.Stream.record": ("event",),
    "cuda.Stream.synchronize": (),
    "cuda.Stream.wait_event": ("event",),
    "cuda.alloc_pinned_memory": ("size",),
    "cuda.driver.CUDADriverError": ("status",),
    "cuda.driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES": None,
    "cuda.driver.funcSetAttribute": ("f", "attribute", "value"),
    "cuda.driver.launchKernel": (
        *("f", "grid_dim_x", "grid_dim_y", "grid_dim_z"),
        *("block_dim_x", "block_dim_y", "block_dim_z"),
        *("shared_mem_bytes", "stream", "kernel_params", "extra"),
    ),
    "cuda.function.Function.ptr": None,
    "cuda.function.Module": (),
    "cuda.function.Module.get_function": ("name",),
    "cuda.function.Module.load": ("cubin",),
    "cuda.runtime.CUDARuntimeError": ("status",),
    "cuda.runtime.deviceSynchronize": (),
    "cuda.runtime.driverGetVersion": (),
    "cuda.runtime.getDeviceCount": (),
    "cuda.runtime.getDeviceProperties": ("device",),
    "cuda.runtime.memGetInfo": (),
    "cuda.runtime.memcpyAsync": ("dst", "src", "size", "kind", "stream"),
    "cuda.runtime.memcpyDeviceToDevice": None,
    "cuda.runtime.memcpyDeviceToHost": None,
    "cuda.runtime.memcpyHostToDevice": None,
    "cuda.runtime.memsetAsync": ("ptr", "value", "size", "stream"),
    "cuda.runtime.runtimeGetVersion": (),
    "cuda.runtime.streamSynchronize": ("stream",),
    "from_dlpack": ("array",),
    "ndarray": ("shape", "dtype", "memptr"),
}
"""By name: the parameters, the first of them where CuPy has more that may be left out; None: it is
a value. What only an instance has, as `ptr` of a stream, cannot be asked of a class."""

VALUES = {
    "cuda.driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES": 8,
    "cuda.runtime.memcpyDeviceToDevice": 3,
    "cuda.runtime.memcpyDeviceToHost": 2,
    "cuda.runtime.memcpyHostToDevice": 1,
}


def differences(cupy: Any) -> list[str]:
    """How a module that is CuPy, or stands for it, differs from the table."""
    found = []
    for name, expected in SIGNATURES.items():
        value: Any = cupy
        try:
            for part in name.split("."):
                value = getattr(value, part)
        except AttributeError as error:
            # an instance's own, as Function.ptr, may be none of its class
            if name.split(".")[-1] not in ("ptr",):
                found.append(f"{name}: {error}")
            continue
        if name in VALUES and value != VALUES[name]:
            found.append(f"{name} is {value}, not {VALUES[name]}")
        if expected is not None and (has := parameters(value))[: len(expected)] != expected:
            found.append(f"{name}{has} is not {name}{expected}")
    return found


def parameters(value: Any) -> tuple[str, ...]:
    """The names of a function's or a class's parameters; of what is compiled, from its first line
    of documentation, which Cython writes."""
    try:
        names = [p for p in inspect.signature(value).parameters if p not in ("args", "kwargs")]
        names = [] if any(p.startswith("_") for p in names) else names
    except ValueError:
        names = []
    if not names and (found := re.search(r"\w+\((.*?)\)", value.__doc__ or "")):
        names = [part.split("=")[0].split()[-1] for part in found[1].split(",") if part.strip()]
    return tuple(name for name in names if name != "self")


def main() -> None:
    import cupy  # type: ignore[import-not-found,unused-ignore]

    wrong = differences(cupy)
    print(*wrong, sep="\n")
    print(f"CuPy {cupy.__version__}: {len(SIGNATURES)} names, {len(wrong)} differ")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
