"""Compile units of kernels to machine code with NVRTC: needs no GPU and no driver."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from minidl.checkout import kernels_folder
from minidl.devices.architecture import CodeTarget
from minidl.devices.kernels import Unit
from minidl.ir import MinidlError

OPTIONS = ("--std=c++17", "--fmad=false", "--ptxas-options=-v")
"""Multiply-adds are fused where a kernel says so, so that fusing ops changes no bit."""

OLDEST_TRIED = (12, 4)
"""The oldest NVRTC that every kernel is compiled with; the lower bound of minidl[nvrtc12]."""

REMARK = re.compile(r"\bwarning\b|\(C\d+\)|Potential Performance Loss", re.IGNORECASE)
"""A line that tells of trouble. What ptxas does to wgmma (C7510 to C7517: serialised, waits put in)
it prints as info; lines of info without a code are figures."""


INSTALL = "install minidl[nvrtc13], or minidl[nvrtc12] for an older driver"


class CompileError(MinidlError):
    """A CUDA source was refused, or NVRTC is missing or too old."""


@dataclass(frozen=True)
class Compiled:
    """A kernel as machine code or PTX, and what the assembler said of it."""

    code: bytes
    registers: int
    spilled_bytes: int
    """Stores and loads of registers that had no room."""
    stack_bytes: int
    """Local memory of a thread."""
    warnings: tuple[str, ...]
    log: str = field(default="", repr=False)
    """All that the compiler said."""


def nvrtc_library() -> Any:
    """The bindings, or a CompileError that says what to install."""
    try:
        from cuda.bindings import nvrtc
    except ImportError:
        raise CompileError("NVRTC is missing", INSTALL) from None
    return nvrtc


@cache
def version() -> tuple[int, int]:
    """NVRTC's version; CompileError where the bindings find no library."""
    nvrtc = nvrtc_library()
    try:
        _, major, minor = nvrtc.nvrtcVersion()
    except RuntimeError as error:
        raise CompileError(
            f"the bindings find no NVRTC ({' '.join(str(error).split())})", INSTALL
        ) from None
    return int(major), int(minor)


def supported() -> tuple[int, ...]:
    """Compute capabilities that this NVRTC compiles for, 90 for 9.0."""
    version()
    _, capabilities = nvrtc_library().nvrtcGetSupportedArchs()
    return tuple(int(capability) for capability in capabilities)


def compile_unit(unit: Unit, architecture: CodeTarget | str) -> Compiled:
    """Compile for one architecture; CompileError has NVRTC's version and its own words."""
    target = CodeTarget(architecture) if isinstance(architecture, str) else architecture
    nvrtc = nvrtc_library()
    name = f"{unit.entry}.cu".encode()
    _, program = nvrtc.nvrtcCreateProgram(unit.source.encode(), name, 0, [], [])
    folders = (f"-I{folder}" for folder in (kernels_folder(), *unit.folders))
    options = (*OPTIONS, f"--gpu-architecture={target.name}", *folders)
    encoded = [option.encode() for option in options]
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        raw = _output(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
        log = raw.rstrip(b"\0").decode()
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            said = log or str(status)
            raise CompileError(
                f"NVRTC {dotted(version())} does not compile {unit.entry} for {target.name}"
                f"{lacks(target.capability)}: {said}"
            )
        if target.is_ptx:
            code = _output(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program)
        else:
            code = _output(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return read_log(code, log)


def lacks(capability: int) -> str:
    """What the NVRTC at hand has not got, as a clause; empty where it has all."""
    found, missing = version(), []
    if capability not in supported():
        missing.append(f"it does not know sm_{capability}")
    if found < OLDEST_TRIED:
        missing.append(f"it is older than {dotted(OLDEST_TRIED)}, the oldest tried")
    return f" ({', and '.join(missing)})" if missing else ""


def dotted(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"


def _output(size_of: Any, get: Any, program: Any) -> bytes:
    _, size = size_of(program)
    buffer = bytes(bytearray(size))  # the bindings write into it
    get(program, buffer)
    return buffer


def read_log(code: bytes, log: str) -> Compiled:
    """What ptxas printed, as numbers."""

    def number(pattern: str) -> int:
        return sum(int(found) for found in re.findall(pattern, log))

    spilled = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads")
    warnings = tuple(line for line in log.splitlines() if REMARK.search(line))
    stack = number(r"(\d+) bytes stack frame")
    return Compiled(code, number(r"Used (\d+) registers"), spilled, stack, warnings, log)
