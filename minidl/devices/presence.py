"""What a machine lacks for device 'cuda', in words that name the way out. Imports no CuPy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minidl.cards import ANYWHERE
from minidl.ir import ArgumentError, MinidlError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The environment variable that hides GPUs from a process:
https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables."""


INSTALL = "pip install 'minidl[cuda13]', or 'minidl[cuda12]' for a driver older than 580"


class DeviceError(MinidlError):
    """No GPU that minidl can use; the message says what is missing."""


def without_cupy(error: Exception) -> DeviceError:
    """The error where `import cupy` failed: it is not installed, or installed and broken. Then any
    exception may come: ImportError for a library that is missing, ValueError for another NumPy."""
    if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
        return DeviceError(f"device 'cuda' needs CuPy ({error})", INSTALL)
    return DeviceError(
        f"CuPy is installed and cannot be imported ({_last_words(error)})",
        f"remove cupy-cuda12x and cupy-cuda13x, of which only one may be there, and {INSTALL}",
    )


def _last_words(error: Exception) -> str:
    """The cause that an error ends with: CuPy puts it last into a frame of several lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =")]
    words = lines[-1] if lines else ""
    name = type(error).__name__
    return words if words.startswith(name) else f"{name}: {words}"


def require_device(runtime: Any, index: int) -> None:
    """DeviceError unless there is a driver, new enough, and a device of that number."""
    if not isinstance(index, int) or isinstance(index, bool):
        raise ArgumentError(f"index is the number of a GPU, from 0 on, got {index!r}")
    try:
        driver = runtime.driverGetVersion()
        if not driver:
            raise DeviceError("no NVIDIA driver: device 'cuda' needs one", ANYWHERE)
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise _no_device(runtime, error) from None
    if not 0 <= index < count:
        hidden = os.environ.get(VISIBLE)
        shown = "this machine has" if hidden is None else f"{VISIBLE}={hidden} leaves"
        last = "" if count == 1 else f" to {count - 1}"
        numbers = f", number 0{last}" if count else ""
        raise DeviceError(f"there is no GPU {index}: {shown} {count}{numbers}")


def _no_device(runtime: Any, error: Exception) -> DeviceError:
    if "InsufficientDriver" in str(error):
        has, needs = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        return DeviceError(
            f"the NVIDIA driver is too old: it has CUDA {version(has)}, this CuPy needs "
            f"{version(needs)}",
            "update the driver, or install minidl[cuda12]",
        )
    hidden = os.environ.get(VISIBLE)
    if "NoDevice" in str(error) and hidden is not None:
        return DeviceError(
            f"no NVIDIA GPU to be used: {VISIBLE}={hidden} hides every one",
            f"unset it, or set it to the number of one, as nvidia-smi counts them; {ANYWHERE}",
        )
    return DeviceError(f"no NVIDIA GPU to be used: {error}", ANYWHERE)


def version(number: int) -> str:
    """As CUDA writes it: 13000 is 13.0."""
    return f"{number // 1000}.{number % 1000 // 10}"


@contextmanager
def first_use(runtime: Any, index: int) -> Iterator[None]:
    """DeviceError where a GPU that is there cannot be begun with: a context takes memory."""
    try:
        yield
    except runtime.CUDARuntimeError as error:
        if "MemoryAllocation" in str(error):
            why = "has no memory free for a context, another process may hold it"
        elif "DevicesUnavailable" in str(error):
            why = "is held by another process, or is set to be used by none"
        else:
            why = f"cannot be used ({error})"
        raise DeviceError(
            f"GPU {index} {why}",
            "nvidia-smi shows who uses it; end that, or take another GPU with "
            f"CudaDevice(index=...) or {VISIBLE}",
        ) from None
