"""Memory of the card and pinned memory of the host; copies, which know where it ends."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from tests.simulator.fake.errors import INVALID_VALUE, OUT_OF_MEMORY, CUDARuntimeError
from tests.simulator.fake.machine import MACHINE, Card
from tests.simulator.fake.streams import (
    CURRENT,
    WAITED,
    Entry,
    Stream,
    require_no_capture,
    stream_of,
)

HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3


class Memory:
    """Bytes of the card: NaN, whatever type they are read as."""

    taken: list[int] = []  # noqa: RUF012 - a log

    def __init__(self, size: int) -> None:
        self.size, self.ptr = _unsigned(size), 0
        self.card = MACHINE.enter(may_capture=False)
        if not size:
            return
        if size > self.card.free:
            raise CUDARuntimeError(OUT_OF_MEMORY)
        self.raw = np.full(size + 512, 0xFF, np.uint8)
        self.ptr = -(-self.raw.ctypes.data // 256) * 256
        self.card.allocations[self.ptr] = size
        self.taken.append(size)

    def __del__(self) -> None:
        """cudaFree waits for all that is under way."""
        if not getattr(self, "ptr", 0):
            return
        for stream in list(MACHINE.streams.values()):
            while stream.card is self.card and stream.queue:
                stream.advance()
        self.card.allocations.pop(self.ptr, None)


class MemoryPointer:
    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)


class Pinned(np.ndarray):  # type: ignore[type-arg]
    """Pinned memory, of a pool: some 512 bytes, with what they last held in them. To drop it gives
    it back at once, also while a copy is under way."""

    ptr = 0  # of what is no whole block

    def __del__(self) -> None:
        if not self.ptr or MACHINE.pinned.get(self.ptr) is not self.base:
            return
        if MACHINE.under_way[self.ptr]:
            MACHINE.fault = "pinned memory was dropped while a copy was under way"
            return  # where the copy may still write
        del MACHINE.pinned[self.ptr]


def alloc_pinned_memory(size: int) -> Pinned:
    MACHINE.enter(may_capture=False)
    storage = np.full(max(512, -(-_unsigned(size) // 512) * 512), 0xA5, np.uint8)
    block = storage.view(Pinned)
    block.ptr = storage.ctypes.data
    MACHINE.pinned[block.ptr] = storage
    return block


class ndarray:  # noqa: N801 - CuPy's name
    """A view of the card's memory; its capsule is NumPy's, as host memory is what it lies in."""

    def __init__(self, shape: tuple[int, ...], dtype: str, memptr: MemoryPointer) -> None:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        _require_allocated(memptr.ptr, size)
        raw = (ctypes.c_uint8 * size).from_address(memptr.ptr)
        self.seen = np.frombuffer(raw, dtype).reshape(shape)
        self.data = memptr

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        here = self.seen.__array_interface__
        return {**here, "version": 3, "stream": CURRENT[-1].ptr if CURRENT else 1}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: Any = None) -> Any:
        WAITED.append((stream, CURRENT[-1].ptr if CURRENT else 1))
        return self.seen.__dlpack__()


def from_dlpack(array: ndarray) -> ndarray:
    assert CURRENT, "the producer has to know which stream waits"
    array.__dlpack__(stream=CURRENT[-1].ptr)
    return array


# -- copies ----------------------------------------------------------------------------------------


def memcpy_async(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    """cudaMemcpyAsync: to and from pinned memory later, from other memory of the host at once, and
    to it only when all before is done."""
    MACHINE.enter()
    where = stream_of(stream, CUDARuntimeError)
    _unsigned(size)
    if kind not in (HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE):
        raise CUDARuntimeError(INVALID_VALUE)
    for address, on_card in ((dst, kind != DEVICE_TO_HOST), (src, kind != HOST_TO_DEVICE)):
        (_require_allocated if on_card else _require_host)(address, size)
    if kind == DEVICE_TO_DEVICE:
        where.put(Entry(lambda: _move(dst, src, size)))
    else:
        require_no_capture(where)
        _copy_with_host(dst, src, size, kind, where)
    MACHINE.progress()


def _copy_with_host(dst: int, src: int, size: int, kind: int, stream: Stream) -> None:
    block = _pinned_block(src if kind == HOST_TO_DEVICE else dst)
    if block is not None:
        stream.put(Entry(lambda: _move(dst, src, size), pinned=(block,)))
    elif kind == HOST_TO_DEVICE:
        copy = ctypes.create_string_buffer(ctypes.string_at(src, size), max(1, size))
        stream.put(Entry(lambda: _move(dst, ctypes.addressof(copy), size)))
    else:
        stream.synchronize()
        _move(dst, src, size)


def memset_async(ptr: int, value: int, size: int, stream: int) -> None:
    MACHINE.enter()
    _require_allocated(ptr, _unsigned(size))
    stream_of(stream, CUDARuntimeError).put(Entry(lambda: _fill(ptr, value, size)))
    MACHINE.progress()


def _move(to: int, source: int, nbytes: int) -> None:
    ctypes.memmove(to, source, nbytes)


def _fill(to: int, value: int, nbytes: int) -> None:
    ctypes.memset(to, value, nbytes)


def _inside(address: int, nbytes: int, start: int, size: int) -> bool:
    return start <= address and address + nbytes <= start + size


def _holder(address: int, nbytes: int) -> Card | None:
    for card in MACHINE.cards:
        if any(_inside(address, nbytes, *block) for block in card.allocations.items()):
            return card
    return None


def _require_allocated(address: int, nbytes: int) -> None:
    """cudaErrorInvalidValue where a byte lies outside of one allocation of a card."""
    if nbytes and _holder(address, nbytes) is None:
        raise CUDARuntimeError(INVALID_VALUE)


def _require_host(address: int, nbytes: int) -> None:
    """cudaErrorInvalidValue where the memory is a card's, or its pinned part ends too early."""
    block = _pinned_block(address)
    over = block is not None and not _inside(address, nbytes, block, MACHINE.pinned[block].nbytes)
    if over or _holder(address, 1) is not None:
        raise CUDARuntimeError(INVALID_VALUE)


def _pinned_block(address: int) -> int | None:
    for start, storage in MACHINE.pinned.items():
        if _inside(address, 1, start, storage.nbytes):
            return start
    return None


def _unsigned(size: int) -> int:
    """As Cython converts to size_t."""
    if not 0 <= size < 2**64:
        raise OverflowError(f"can't convert {size} to size_t")
    return size
