"""Launch: one kernel call as data, and how its parameters are laid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.ir import LimitError, Op, PlanError, Tensor
from minidl.ops.cuda.loop import Loop


@dataclass(frozen=True)
class Address:
    """Where a tensor's bytes begin, some `elements` of it further on."""

    tensor: Tensor
    elements: int = 0


@dataclass(frozen=True)
class CppFile:
    """A file of CUDA C++: of `kernels/`, or of a folder elsewhere, which it may include from too.

    What it includes is looked for in that folder and in `kernels/`; no name may be in both.
    """

    name: str
    folder: Path | None = None

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0]


Argument = Any
"""An `Address`, a NumPy scalar, or a tuple of arguments: a struct in C++. () is an empty struct."""


@dataclass(frozen=True)
class Launch:
    """A kernel, where its parameters lie, and how many threads run it."""

    kernel: str
    """The C++ type: see kernels/platform.cuh."""
    source: CppFile
    """The file that has it."""
    grid: tuple[int, int, int]
    threads: int
    """Of one block."""
    arguments: tuple[Argument, ...]
    """The fields of the kernel's `Params`, in order."""
    shared: int = 0
    """Bytes of shared memory of one block."""
    room: int = 0
    """Of these, bytes behind the kernel's `Shared`, whose number does not follow from its type."""
    more_sources: tuple[CppFile, ...] = ()
    """Files that have functors which the type names."""
    counted: int = 0
    """The largest number that the kernel counts to in 31 bits."""
    access: int = 0
    """Bytes that a thread reads of a tensor at once, where it reads it in turns; 0: in one."""
    loop: Loop | None = None
    """Of a matrix product."""

    @property
    def name(self) -> str:
        """The kernel without the arguments of its template."""
        return self.kernel.partition("<")[0]


def scratch_of(op: Op) -> Tensor:
    """The op's planned workspace."""
    for t in op.writes:
        if t.kind == "scratch":
            return t
    raise PlanError(f"{op.name} has no scratch planned")


def described(op: Op) -> str:
    """The op's name and the shapes of what it writes and reads, for an error to say."""
    writes, reads = (" ".join(str(t.shape) for t in tensors) for tensors in (op.writes, op.reads))
    return f"{op.name} ({writes} from {reads})"


COUNTED = 2**31 - 1
"""The largest number of 31 bits."""


def int32(number: int) -> np.int32:
    """A field of 31 bits; LimitError where the number has more."""
    if number > COUNTED:
        raise LimitError(
            f"{number:,} is more than a kernel can count, 31 bits",
            "use a smaller batch, smaller images or fewer channels",
        )
    return np.int32(number)


def ints(*values: int) -> tuple[np.generic, ...]:
    """Several fields of 31 bits."""
    return tuple(int32(value) for value in values)


def division(divisor: int) -> tuple[np.generic, ...]:
    """The fields of `Division`: x / d = umulhi(x, multiplier) >> shift for 0 <= x < 2^31."""
    if divisor < 1:
        raise PlanError(f"cannot divide by {divisor} in a kernel")
    log = max(1, (divisor - 1).bit_length())
    multiplier = min(2**32 - 1, -(-(2 ** (31 + log)) // divisor))
    return int32(divisor), np.uint32(multiplier), np.uint32(log - 1)


THREADS = 256
"""Of a block, where nothing speaks for another number."""


def by_thread(
    kernel: str,
    source: CppFile,
    threads: int,
    arguments: tuple[Argument, ...],
    more_sources: tuple[CppFile, ...] = (),
    counted: int | None = None,
) -> Launch:
    """A launch of `threads` independent threads, which the kernel counts in 31 bits unless
    `counted` says what it counts."""
    counted = threads if counted is None else counted
    grid = grid_for(threads)
    return Launch(kernel, source, grid, THREADS, arguments, 0, 0, more_sources, counted)


def grid_for(threads: int, block: int = THREADS) -> tuple[int, int, int]:
    """As many blocks as `threads` threads need."""
    return max(1, -(-threads // block)), 1, 1


# -- parameters ------------------------------------------------------------------------------------


def layout(argument: Argument) -> tuple[int, int]:
    """Size and alignment of an argument as a C++ compiler lays it out."""
    if isinstance(argument, Address):
        return 8, 8
    if not isinstance(argument, tuple):
        return argument.itemsize, argument.dtype.alignment
    size, alignment = 0, 1
    for field in argument:
        room, step = layout(field)
        size += -size % step + room
        alignment = max(alignment, step)
    return size + -size % alignment or 1, alignment


def pack(argument: Argument, address: Callable[[Address], int]) -> bytes:
    """The argument's bytes, padding zero."""
    return _laid_out(argument, address)[0]


def _laid_out(argument: Argument, address: Callable[[Address], int]) -> tuple[bytes, int]:
    """The argument's bytes and its alignment; an empty struct has one byte."""
    if isinstance(argument, Address):
        return address(argument).to_bytes(8, "little"), 8
    if not isinstance(argument, tuple):
        return argument.tobytes(), argument.dtype.alignment
    packed, alignment = bytearray(), 1
    for field in argument:
        raw, step = _laid_out(field, address)
        packed += bytes(-len(packed) % step) + raw
        alignment = max(alignment, step)
    packed += bytes(-len(packed) % alignment)
    return bytes(packed or 1), alignment
