"""Elementwise ops: one rule for all of them, and for copies and maps that are built like them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from minidl.ir import Op, Tensor
from minidl.ops.cuda.launch import Argument, CppFile, Launch, by_thread, division
from minidl.ops.cuda.operands import (
    kind_of,
    operand_list,
    per_channel,
    pixel_pitch,
    sink,
    sink_tensors,
    sources_of_epilogue,
    typed,
    width_of_vectors,
)
from minidl.ops.cuda.rules import functor_fields, functor_name, source_of

ELEMENTWISE = CppFile("elementwise.cuh")

Pairs = list[tuple[str, Argument]]


def elementwise(op: Op) -> list[Launch]:
    """The launch of any elementwise op."""
    return [map_tensors(op, [(kind_of(op, t), t) for t in op.operands])]


def map_tensors(op: Op, operands: Sequence[tuple[str, Tensor]]) -> Launch:
    """The op's functor over operands, each with its kind: see kernels/elementwise.cuh."""
    large = [t for kind, t in operands if kind != "Scalar"]
    rows, columns = _rows_of(large)
    pitch = pixel_pitch if rows > 1 else _none
    pairs = [typed(kind, t, pitch) for kind, t in operands]
    width = width_of_vectors(large, columns, *_gaps(large, rows))
    name, fields = functor_name(op), functor_fields(op)
    return map_rows(name, source_of(op), fields, pairs, rows, columns, width)


def _rows_of(tensors: list[Tensor]) -> tuple[int, int]:
    """One row where nothing has gaps; else the pixels and the channels."""
    if all(t.contiguous for t in tensors):
        return 1, tensors[0].size
    return tensors[0].size // tensors[0].shape[-1], tensors[0].shape[-1]


def _none(_: Tensor) -> int:
    """The pitch of one row: nobody asks for the next."""
    return 0


def _gaps(tensors: list[Tensor], rows: int) -> list[int]:
    return [] if rows == 1 else [pixel_pitch(t) for t in tensors]


def map_rows(
    name: str,
    source: CppFile,
    constants: tuple[np.generic, ...],
    pairs: Pairs,
    rows: int,
    columns: int,
    width: int,
    more_sources: tuple[CppFile, ...] = (),
) -> Launch:
    """A functor over `rows` rows of `columns` elements, `width` of them a thread."""
    types = ", ".join(kind for kind, _ in pairs)
    epilogue = (constants, operand_list(fields for _, fields in pairs))
    vectors = columns // width
    by_row = division(vectors if rows > 1 else 1)
    arguments = (epilogue, np.int64(rows), np.int64(columns), by_row)
    kernel = f"Elementwise<{width}, {name}, {types}>"
    threads = rows * vectors
    return by_thread(kernel, source, threads, arguments, more_sources, threads if rows > 1 else 0)


def by_channel(
    op: Op,
    images: list[Tensor],
    channels: list[Tensor],
    constants: tuple[np.generic, ...] = (),
) -> Launch:
    """A functor of (result, images..., vectors of one element a channel...), pixel by pixel."""
    main, result = op.original, op.writes[0]
    pairs: Pairs = [sink(op, result, pixel_pitch)]
    pairs += [typed("In", t, pixel_pitch) for t in images]
    pairs += [per_channel(t) for t in channels]
    columns, large = result.shape[-1], [*sink_tensors(op, result), *images]
    gaps = (pixel_pitch(t) for t in large)
    width = width_of_vectors([*large, *channels], columns, *gaps)
    name, more = functor_name(main), sources_of_epilogue(op)
    rows = result.size // columns
    return map_rows(name, source_of(main), constants, pairs, rows, columns, width, more)


def copy_columns(
    to: Tensor, to_first: int, source: Tensor, source_first: int, columns: int
) -> Launch:
    """Copy `columns` columns of each row; a tensor's columns are its last axis."""
    pairs: Pairs = [
        typed("Out", to, pixel_pitch, to_first),
        typed("In", source, pixel_pitch, source_first),
    ]
    gaps = (pixel_pitch(to), pixel_pitch(source), to_first, source_first)
    width = width_of_vectors((to, source), columns, *gaps)
    rows = to.size // to.shape[-1]
    return map_rows("assign", ELEMENTWISE, (), pairs, rows, columns, width)


def copy_elements(
    to: Tensor, to_first: int, source: Tensor, source_first: int, count: int
) -> Launch:
    """Copy `count` elements that lie side by side."""
    pairs: Pairs = [
        typed("Out", to, _none, to_first),
        typed("In", source, _none, source_first),
    ]
    width = width_of_vectors((to, source), count, to_first, source_first)
    return map_rows("assign", ELEMENTWISE, (), pairs, 1, count, width)


def joined(whole: Tensor, parts: Iterable[Tensor], axis: int, forward: bool) -> list[Launch]:
    """Copies between a tensor and its parts along the first or the last axis."""
    launches, first = [], 0
    for part in parts:
        count, copy = (part.size, copy_elements) if axis == 0 else (part.shape[-1], copy_columns)
        ends = (whole, first, part, 0) if forward else (part, 0, whole, first)
        launches.append(copy(*ends, count))
        first += count
    return launches
