"""Operands of a kernel: their C++ types, how far apart their rows lie, how wide a vector may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from minidl.ir import Op, PlanError, Tensor
from minidl.ops.cuda.launch import Address, Argument, CppFile, int32
from minidl.ops.cuda.rules import functor_fields, functor_name, source_of

TYPES = {
    "float32": "float",
    "bfloat16": "bf16",
    "uint8": "uint8",
    "uint16": "uint16",
    "int32": "int",
    "int64": "int64",
    "uint64": "uint64",
}

SUMMED = 32
"""Tensors that one launch adds: their vectors lie in registers, their addresses in parameters."""

VECTOR_BYTES = 16
"""Widest load and store."""


def ctype(t: Tensor) -> str:
    if t.dtype not in TYPES:
        raise PlanError(f"{t.name}: no kernel takes {t.dtype}")
    return TYPES[t.dtype]


def pixel_pitch(t: Tensor) -> int:
    """Elements from one row (all axes but the last) to the next."""
    return t.shape[-1] if t.contiguous else t.storage.shape[-1]


def matrix_pitch(t: Tensor) -> int:
    """Elements from one index of the first axis to the next: the rows of a weight matrix."""
    return math.prod(t.shape[1:])


def width_of_vectors(tensors: Iterable[Tensor], *sizes: int, limit: int = VECTOR_BYTES) -> int:
    """The most elements that one load or store may take: a power of two that divides all `sizes`
    and where each tensor starts."""
    tensors = list(tensors)
    width = limit // max(t.itemsize for t in tensors)
    numbers = (*sizes, *(t.start // t.itemsize for t in tensors))
    return math.gcd(width, *numbers)


Pitch = Callable[[Tensor], int]


def operand(op: Op, t: Tensor, pitch: Pitch) -> tuple[str, Argument]:
    """The C++ type and the fields of an elementwise op's operand."""
    return typed(kind_of(op, t), t, pitch)


def kind_of(op: Op, t: Tensor) -> str:
    """What an elementwise op's operand is, in the words of kernels/elementwise.cuh."""
    if t.shape == () and op.writes[0].shape != ():
        return "Scalar"
    if t in op.writes:
        return "InOut" if t in op.reads else "Out"
    return "In"


def typed(kind: str, t: Tensor, pitch: Pitch, first: int = 0) -> tuple[str, Argument]:
    """The C++ type and the fields of an operand of a kind, from element `first` on."""
    where = Address(t, first)
    return f"{kind}<{ctype(t)}>", (where,) if kind == "Scalar" else (where, int32(pitch(t)))


def per_channel(t: Tensor) -> tuple[str, Argument]:
    """A vector of one element a channel, for all rows."""
    return f"In<{ctype(t)}>", (Address(t), int32(0))


def operand_list(arguments: Iterable[Argument]) -> Argument:
    """The fields of `Operands`: a list is its first and the rest."""
    *front, last = arguments
    packed: Argument = (last,)
    for argument in reversed(front):
        packed = (argument, packed)
    return packed


def sink(op: Op, to: Tensor, pitch: Pitch) -> tuple[str, Argument]:
    """Where the result of `op` goes that is `to` without an epilogue: the C++ type and fields."""
    follower, dropped = op.fusion.epilogue, op.fusion.between
    if follower is None or dropped is None:
        return f"Out<{ctype(to)}>", (Address(to), int32(pitch(to)))
    pairs = [
        ("Value", ()) if t is dropped else operand(follower, t, pitch) for t in follower.operands
    ]
    types = ", ".join(name for name, _ in pairs)
    name = f"Into<{ctype(dropped)}, {functor_name(follower)}, {types}>"
    return name, ((functor_fields(follower), operand_list(fields for _, fields in pairs)),)


def sink_tensors(op: Op, to: Tensor) -> list[Tensor]:
    """The tensors that `sink` addresses vector by vector."""
    if op.fusion.epilogue is None:
        return [to]
    own = op.fusion.epilogue.operands
    return [t for t in own if t is not op.fusion.between and t.shape != ()]


def sources_of_epilogue(op: Op) -> tuple[CppFile, ...]:
    follower = op.fusion.epilogue
    if follower is None:
        return ()
    return source_of(follower), *sources_of_epilogue(follower)
