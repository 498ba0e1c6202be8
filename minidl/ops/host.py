"""The host's cores: tiles of an op run side by side, each with a single-threaded BLAS.

How work is cut into tiles depends on shapes alone, never on the number of cores, so that results
have the same bits on every machine with the same BLAS.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from minidl.ir import Array

HOST_LANES = 4
"""Tiles that the CPU device works on at once at most; each has a share of an op's scratch."""

CHUNK = 32 * 1024
"""Elements of one chunk of an elementwise op: its temporaries stay in the L2 cache."""

SMALL = 2**21
"""Multiply-adds that one core does in the time in which others are woken up for them."""

PASS = 16
"""Multiply-adds in the time in which one element is read from memory and added."""


Given = TypeVar("Given")
Made = TypeVar("Made")


@cache
def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, min(cores(), HOST_LANES) - 1), thread_name_prefix="minidl")


def ahead(function: Callable[[Given], Made], values: Iterable[Given]) -> Iterator[Made]:
    """function(value) of each in order, by all cores, as many ahead of who asks as there are."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(cores()) as pool:
        for value in values:
            waiting.append(pool.submit(function, value))
            if len(waiting) > cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def run_tiles(
    task: Callable[[int, int], None], count: int, lanes: int = HOST_LANES, products: int = SMALL
) -> None:
    """Run `task(tile, lane)` for every tile; tiles that run at once have different lanes.

    products: multiply-adds of all tiles; what is SMALL is done here and now, tile by tile.
    """
    workers = min(cores(), lanes, count) if products >= SMALL else 1
    tickets = itertools.count()
    of_caller = np.geterr()  # of this thread alone

    def work(lane: int) -> None:
        with np.errstate(**of_caller):
            while (tile := next(tickets)) < count:
                task(tile, lane)

    helpers = [_pool().submit(work, lane) for lane in range(1, workers)]
    work(0)
    for helper in helpers:
        helper.result()


def run_chunks(
    task: Callable[[slice], None], size: int, chunk: int = CHUNK, products: int = SMALL
) -> None:
    """Run `task(slice)` over `size` elements or rows, `chunk` at a time; products: as
    `run_tiles`."""
    count = -(-size // chunk)
    run_tiles(
        lambda i, _: task(slice(i * chunk, min(size, (i + 1) * chunk))), count, products=products
    )


def lane_of(scratch: Array, lane: int, lanes: int = HOST_LANES) -> Array:
    """One lane's share of an op's flat scratch."""
    share = scratch.size // lanes
    return scratch[lane * share : (lane + 1) * share]


def blocks(size: int, block: int) -> Iterator[slice]:
    """[0, size) in slices of `block`."""
    return (slice(i, min(size, i + block)) for i in range(0, size, block))


@cache
def _openblas() -> tuple[Callable[[int], None], Callable[[], int]] | None:
    """The thread count's setter and getter of the OpenBLAS that NumPy's wheel brings."""
    folder = Path(np.__file__).parent
    for path in [*folder.parent.glob("numpy.libs/*openblas*"), *folder.glob(".dylibs/*openblas*")]:
        library = ctypes.CDLL(str(path))
        for prefix, suffix in itertools.product(("scipy_openblas", "openblas"), ("64_", "")):
            setter = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
            getter = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
            if setter is not None and getter is not None:
                return setter, getter
    return None


class _Single:
    """One BLAS thread while anyone needs it so; the first who comes notes how many there were, and
    the last who goes gives them back."""

    def __init__(self) -> None:
        self.lock, self.users, self.before = threading.Lock(), 0, 0

    def begin(self) -> None:
        if (blas := _openblas()) is not None:
            with self.lock:
                if not self.users:
                    self.before = blas[1]()
                    blas[0](1)
                self.users += 1

    def end(self) -> None:
        if (blas := _openblas()) is not None:
            with self.lock:
                self.users -= 1
                if not self.users:
                    blas[0](self.before)


_single = _Single()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Within it each BLAS call uses the calling thread only; other BLAS builds stay as they are."""
    single = _single
    single.begin()
    try:
        yield
    finally:
        single.end()


def _begin_child() -> None:
    """A forked child has the thread that forked, and none of the others: their pool is made anew,
    and BLAS has the threads that it had before they took them."""
    global _single
    _pool.cache_clear()
    cores.cache_clear()
    left, _single = _single, _Single()
    if left.users and (blas := _openblas()) is not None:
        blas[0](left.before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
