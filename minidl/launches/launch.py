"""Launch: one kernel call as data; and the rules by which an op becomes launches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.ir import Op, PlanError, Tensor


@dataclass(frozen=True)
class Address:
    """Where a tensor's bytes begin, some `elements` of it further on."""

    tensor: Tensor
    elements: int = 0


Argument = Any
"""An `Address`, a NumPy scalar, or a tuple of arguments: a struct in C++. () is an empty struct."""


@dataclass(frozen=True)
class Launch:
    """A kernel of `kernels/`, where its parameters lie, and how many threads run it."""

    kernel: str
    """The C++ type: see kernels/platform.cuh."""
    source: str
    """Stem of the file that has it."""
    grid: tuple[int, int, int]
    threads: int
    """Of one block."""
    arguments: tuple[Argument, ...]
    """The fields of the kernel's `Params`, in order."""
    shared: int = 0
    """Bytes of shared memory of one block."""
    room: int = 0
    """Of these, bytes behind the kernel's `Shared`, whose number does not follow from its type."""
    more_sources: tuple[str, ...] = ()
    """Stems of files that have functors which the type names."""


Rule = Callable[[Op], list[Launch]]

RULES: dict[str, Rule] = {}
"""By the name of an op's function. Elementwise ops need none."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """State how ops of these functions are launched: a function from the op to its launches."""

    def add(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return add


Constants = Callable[[Op], tuple[np.generic, ...]]

CONSTANTS: dict[str, Constants] = {}
"""By the name of an elementwise op's function: the fields of its functor, where they are not
simply the op's attributes as float32."""


def constants(name: str) -> Callable[[Constants], Constants]:
    """State the fields of an elementwise op's functor."""

    def add(function: Constants) -> Constants:
        CONSTANTS[name] = function
        return function

    return add


def source_of(op: Op) -> str:
    """The stem of the file that has the op's kernel: that of the module with its function."""
    module: str = op.function.__module__
    return module.rpartition(".")[2]


def scratch_of(op: Op) -> Tensor:
    """The op's planned workspace."""
    for t in op.writes:
        if t.kind == "scratch":
            return t
    raise PlanError(f"{op.name} has no scratch planned")


def division(divisor: int) -> tuple[np.generic, ...]:
    """The fields of `Division`: x / d = umulhi(x, multiplier) >> shift for 0 <= x < 2^31."""
    if not 0 < divisor < 2**31:
        raise PlanError(f"cannot divide by {divisor} in a kernel")
    log = max(1, (divisor - 1).bit_length())
    multiplier = min(2**32 - 1, -(-(2 ** (31 + log)) // divisor))
    return np.int32(divisor), np.uint32(multiplier), np.uint32(log - 1)


THREADS = 256
"""Of a block, where nothing speaks for another number."""


def by_thread(
    kernel: str,
    source: str,
    threads: int,
    arguments: tuple[Argument, ...],
    more_sources: tuple[str, ...] = (),
) -> Launch:
    """A launch of `threads` independent threads."""
    grid = grid_for(threads)
    return Launch(kernel, source, grid, THREADS, arguments, more_sources=more_sources)


def grid_for(threads: int, block: int = THREADS) -> tuple[int, int, int]:
    """As many blocks as `threads` threads need; kernels count threads in 31 bits."""
    if threads >= 2**31:
        raise PlanError(
            f"{threads:,} threads are more than a kernel can count: use a smaller batch"
        )
    return max(1, -(-threads // block)), 1, 1
