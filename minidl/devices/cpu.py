"""The CPU device: NumPy on views of one buffer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

from minidl.devices.device import Call, bytes_of, in_order
from minidl.devices.given import Given, host_array
from minidl.ir import Array, Op, PlanError, Tensor
from minidl.ir.card import Card
from minidl.ops.host import CHUNK, run_chunks, single_threaded_blas
from minidl.placed.graph import PlacedGraph


def allocate(nbytes: int, alignment: int) -> Array:
    """An uninitialised buffer of `nbytes` bytes that starts at a multiple of `alignment`."""
    raw = np.empty(nbytes + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + nbytes]


class HostMemory:
    """How a device whose memory NumPy can view reads, writes and fills it."""

    on_host = True
    card: Card | None = None

    def read(self, memory: Array, offset: int, nbytes: int) -> Array:
        return memory[offset : offset + nbytes]

    def later(self, memory: Array, offset: int, nbytes: int) -> Callable[[], Array]:
        now = memory[offset : offset + nbytes].copy()
        return lambda: now

    def given(self, value: Any) -> Given:
        return host_array(value)

    def write(self, memory: Array, offset: int, data: Array) -> None:
        raw = bytes_of(data)
        memory[offset : offset + raw.size] = raw

    def write_ahead(self, memory: Array, offset: int, data: Array) -> None:
        self.write(memory, offset, data)

    def after_copies(self) -> None:
        """Copies are done when they return."""

    def move(self, memory: Array, to: int, offset: int, nbytes: int) -> None:
        memory[to : to + nbytes] = memory[offset : offset + nbytes]

    def fill(self, memory: Array, offset: int, nbytes: int, value: int) -> None:
        memory[offset : offset + nbytes] = value

    def available(self) -> int | None:
        return available_memory()

    def allocate(self, nbytes: int, alignment: int) -> Array:
        return allocate(nbytes, alignment)

    def whole(self, calls: list[Call]) -> Call:
        return in_order(calls)

    def synchronize(self) -> None:
        """Calls are done when they return."""


class CpuDevice(HostMemory):
    """NumPy on this machine's memory."""

    name = "cpu"

    def running(self) -> AbstractContextManager[None]:
        return running()

    def bind(self, plan: PlacedGraph, memory: Array, arrays: Mapping[Tensor, Array]) -> list[Call]:
        return [bind(op, arrays) for op in plan.graph.ops]


def available_memory() -> int | None:
    """Bytes that can be allocated now, as far as the system tells."""
    try:
        with open("/proc/meminfo") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def running() -> AbstractContextManager[None]:
    """The context in which launches run: our tiles use the cores, so BLAS must not."""
    return single_threaded_blas()


def bind(op: Op, arrays: Mapping[Tensor, Array]) -> Call:
    """A call without arguments that runs `op` on its tensors' arrays."""
    main, epilogue, between = op.fusion.main, op.fusion.epilogue, op.fusion.between
    if main is not None and epilogue is not None and between is not None:
        if main.takes.finishes:
            return _bind_finishing(main, epilogue, between, arrays)
        return _bind_tiled(main, arrays, _store_through(epilogue, between, arrays))
    if op.takes.tiled is not None:
        return _bind_tiled(op, arrays, partial(_store_into, arrays[op.writes[op.takes.tiled]]))
    operands = [arrays[t] for t in op.operands]
    if op.contract.elementwise:
        return partial(_run_elementwise, op, operands)
    return partial(op.function, *operands, **op.attributes)


def _bind_finishing(
    main: Op, epilogue: Op, between: Tensor, arrays: Mapping[Tensor, Array]
) -> Call:
    """`main` writes where the epilogue's result lies, which then follows in place."""

    def finish(part: Array) -> None:
        for rows in _chunks(part):
            epilogue.function(part[rows], part[rows], **epilogue.attributes)

    here = {**arrays, between: arrays[epilogue.writes[0]]}
    operands = [here[t] for t in main.operands]
    return partial(main.function, *operands, **main.attributes, finish=finish)


def _bind_tiled(op: Op, arrays: Mapping[Tensor, Array], store: Callable[..., None]) -> Call:
    operands = [arrays[t] for t in op.operands]
    return partial(op.function, *operands, **op.attributes, store=store)


def _store_into(whole: Array, index: tuple[slice, ...], tile: Array) -> None:
    whole[index] = tile


def _run_elementwise(op: Op, operands: list[Array]) -> None:
    """Run the op chunk by chunk over operands of one size; scalars go whole to each chunk."""
    first = operands[0]
    width = 1 if all(a.flags.c_contiguous for a in operands) else first.shape[-1]
    rows = [_as_rows(a, width) if a.size == first.size and a.ndim else a for a in operands]

    def chunk(part: slice) -> None:
        op.function(*(a[part] if a.ndim else a for a in rows), **op.attributes)

    run_chunks(chunk, first.size // width, max(1, CHUNK // width))


def _as_rows(a: Array, width: int) -> Array:
    """`a` as a vector, or as rows that may lie apart: a view."""
    rows = a.reshape(-1) if width == 1 else a.reshape(-1, width)
    if a.size and not np.shares_memory(rows, a):
        raise PlanError(f"an operand of shape {a.shape}, strides {a.strides} has no rows")
    return rows


def _store_through(
    epilogue: Op, between: Tensor, arrays: Mapping[Tensor, Array]
) -> Callable[[tuple[slice, ...], Array], None]:
    """Hand each tile of `between` to the epilogue beside the same tile of its other operands."""

    def store(index: tuple[slice, ...], tile: Array) -> None:
        operands = [
            tile if t is between else arrays[t][index] if t.shape == between.shape else arrays[t]
            for t in epilogue.operands
        ]
        for part in _chunks(tile):
            chunk = (a[part] if a.shape == tile.shape else a for a in operands)
            epilogue.function(*chunk, **epilogue.attributes)

    return store


def _chunks(part: Array) -> Iterator[slice]:
    """Slices along the first axis of about `CHUNK` elements each."""
    rows = max(1, CHUNK * len(part) // part.size)
    return (slice(start, start + rows) for start in range(0, len(part), rows))
