"""Compile units of `kernels/` to machine code with NVRTC: needs no GPU and no driver."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from minidl.checkout import kernels_folder
from minidl.devices.kernels import Unit
from minidl.ir import MinidlError

OPTIONS = ("--std=c++17", "--fmad=false", "--ptxas-options=-v")
"""Multiply-adds are fused where a kernel says so, so that fusing ops changes no bit."""

OLDEST = 80
"""sm_80: the first with cp.async, bf16 and TF32."""


class CompileError(MinidlError):
    """A CUDA source was refused, or NVRTC is missing."""


@dataclass(frozen=True)
class Compiled:
    """A kernel as machine code, and what the assembler said of it."""

    cubin: bytes
    registers: int
    spilled_bytes: int
    """Stores and loads of registers that had no room."""
    stack_bytes: int
    """Local memory of a thread."""
    warnings: tuple[str, ...]


def nvrtc_library() -> Any:
    """The bindings, or a CompileError that says what to install."""
    try:
        from cuda.bindings import nvrtc
    except ImportError:
        raise CompileError(
            "NVRTC is missing: install minidl[cuda13], or minidl[cuda12] for an older driver"
        ) from None
    return nvrtc


def version() -> tuple[int, int]:
    """NVRTC's version."""
    nvrtc = nvrtc_library()
    _, major, minor = nvrtc.nvrtcVersion()
    return int(major), int(minor)


def compile_unit(unit: Unit, architecture: str) -> Compiled:
    """Compile for one architecture, say sm_90a; CompileError has the compiler's own words."""
    nvrtc = nvrtc_library()
    name = f"{unit.entry}.cu".encode()
    _, program = nvrtc.nvrtcCreateProgram(unit.source.encode(), name, 0, [], [])
    options = (*OPTIONS, f"--gpu-architecture={architecture}", f"-I{kernels_folder()}")
    encoded = [option.encode() for option in options]
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        raw = _output(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
        log = raw.rstrip(b"\0").decode()
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompileError(f"{unit.entry} for {architecture}: {log or status}")
        cubin = _output(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return read_log(cubin, log)


def _output(size_of: Any, get: Any, program: Any) -> bytes:
    _, size = size_of(program)
    buffer = bytes(bytearray(size))  # the bindings write into it
    get(program, buffer)
    return buffer


def read_log(cubin: bytes, log: str) -> Compiled:
    """What ptxas printed, as numbers."""

    def number(pattern: str) -> int:
        return sum(int(found) for found in re.findall(pattern, log))

    spilled = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    warnings = tuple(line for line in log.splitlines() if "warning" in line.lower())
    stack = number(r"(\d+) bytes stack frame")
    return Compiled(cubin, number(r"Used (\d+) registers"), spilled, stack, warnings)
