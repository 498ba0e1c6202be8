"""Fill a folder with compiled kernels, several processes at once."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from minidl.devices import nvrtc
from minidl.devices.architecture import CodeTarget
from minidl.devices.cubins import key_of, read, write
from minidl.devices.kernels import Unit
from minidl.ir import MinidlError
from minidl.ops.host import cores

T = TypeVar("T")
R = TypeVar("R")


def in_processes(
    work: Callable[[T], R], items: Iterable[T], workers: int
) -> Generator[tuple[T, R], None, None]:
    """Each item and what became of it, as they are done; the first error ends all.

    Processes and not threads: NVRTC before 13 compiles one program at a time in a process.
    Ctrl-C reaches this process alone: what a worker has begun it ends.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
    try:
        with _interrupts_blocked():
            waiting: dict[Future[R], T] = {pool.submit(work, item): item for item in items}
        for future in as_completed(waiting):
            yield waiting[future], future.result()
    except BrokenProcessPool:
        raise MinidlError(
            "a process that compiles kernels died, perhaps for want of memory",
            "try fewer with --workers",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Ctrl-C waits; processes that are started meanwhile never get it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def build(
    units: Iterable[Unit], architecture: CodeTarget, folder: Path, workers: int = 0
) -> Generator[bool, None, None]:
    """For each unit, as they are done, whether it had to be compiled: a whole entry stays."""
    one = partial(build_one, architecture=architecture, folder=folder)
    for _, compiled in in_processes(one, units, workers or cores()):
        yield compiled


def build_one(unit: Unit, architecture: CodeTarget, folder: Path) -> bool:
    """Whether the unit had to be compiled; OSError where the folder cannot be written."""
    key = key_of(unit, architecture)
    if read(folder, key) is not None:
        return False
    write(folder, key, nvrtc.compile_unit(unit, architecture).code)
    return True
