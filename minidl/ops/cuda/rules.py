"""Which C++ each op's function is: the file that has it, its launches, the fields of its functor.

A kernel belongs to a function itself, not to its name: minidl's own are stated in this folder, one
module a family, those of other packages wherever they like, in the same words.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minidl.ir import ArgumentError, How, Op, PlanError, Target
from minidl.ir.op import Function
from minidl.ops.cuda.launch import CppFile, Launch
from minidl.options import Options

Rule = Callable[[Op], list[Launch]]

HowRule = Callable[[Op, Options], How]

Constants = Callable[[Op], tuple[np.generic, ...]]

Types = Callable[[Op], str]


@dataclass(frozen=True)
class Kernel:
    """What is known of the C++ of one function."""

    file: CppFile
    place: str
    """Where it was stated: file and line of Python."""
    launches: Rule | None = None
    """None: a functor, which the one rule of all elementwise ops launches."""
    constants: Constants | None = None
    """The fields of its functor, where they are not simply the op's attributes as float32."""
    template: Types | None = None
    """The template arguments of its functor, where it is a template."""
    how: HowRule | None = None
    """None: as its layer states it, with no workspace."""


KERNELS: dict[Function, Kernel] = {}


def rule(
    *functions: Function,
    file: CppFile,
    template: Types | None = None,
    how: HowRule | None = None,
) -> Callable[[Rule], Rule]:
    """State how ops of these functions are launched: a function from the op to its launches.

    how: from an op as its layer states it, and the step's options, to the attributes that the
    launches read, the workspace, and what the kernel takes in.

    The kernel in `file` has the function's name. ArgumentError where a kernel of that name is
    stated already.
    """
    place = _caller()

    def add(launches: Rule) -> Rule:
        for function in functions:
            _state(function, Kernel(file, place, launches, template=template, how=how))
        return launches

    return add


def functor(
    *functions: Function,
    file: CppFile,
    constants: Constants | None = None,
    template: Types | None = None,
) -> None:
    """State that these functions of elementwise ops are functors in `file`, of the same names.

    They get the op's operands in order: see kernels/elementwise.cuh. ArgumentError where a kernel
    of that name is stated already.
    """
    place = _caller()
    for function in functions:
        _state(function, Kernel(file, place, constants=constants, template=template))


def _caller() -> str:
    """File and line of who called the caller."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _state(function: Function, kernel: Kernel) -> None:
    """A name stands for one kernel: fused ops name several in one C++ type."""
    name = function.__name__
    before = next((k for f, k in KERNELS.items() if f.__name__ == name), None)
    if before is not None:
        raise ArgumentError(
            f"{kernel.place}: a kernel {name} is stated at {before.place} already",
            "call the function and its C++ another name",
        )
    KERNELS[function] = kernel


def kernel_of(op: Op) -> Kernel:
    """The kernel of the op's function; PlanError where none is stated."""
    if op.function not in KERNELS:
        name = op.function.__name__
        raise PlanError(
            f"{op.name}: {name} has no CUDA kernel", "state one with a rule or a functor"
        )
    return KERNELS[op.function]


def functor_name(op: Op) -> str:
    """The C++ type of an elementwise op's functor, on its own and as an epilogue alike."""
    name: str = op.function.__name__
    template = kernel_of(op).template
    return name if template is None else f"{name}<{template(op)}>"


def functor_fields(op: Op) -> tuple[np.generic, ...]:
    """The fields of an elementwise op's functor: its attributes as float32."""
    constants = kernel_of(op).constants
    if constants is not None:
        return constants(op)
    return tuple(np.float32(value) for value in op.attributes.values())


def source_of(op: Op) -> CppFile:
    """The file that has the op's kernel."""
    return kernel_of(op).file


def cuda_target(options: Options) -> Target:
    """How ops run on CUDA."""

    def how(op: Op) -> How:
        kernel = KERNELS.get(op.function)
        return How() if kernel is None or kernel.how is None else kernel.how(op, options)

    return how
