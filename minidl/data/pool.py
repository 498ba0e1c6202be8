"""Worker processes and their ring: batches asked for ahead, given back in order."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from multiprocessing.connection import wait

from minidl.data.errors import WorkerError
from minidl.data.recipe import Recipe, Skipped
from minidl.data.ring import Ring, Shape, file_with, unnamed_file
from minidl.data.worker import Done, Order, Worker, job_of
from minidl.ir import ArgumentError, Array

Made = tuple[Array, Array, list[Skipped]]
"""Images and labels, views of a slot, and what was passed over."""


class Pool:
    """`workers` processes that fill `shape.slots` batches; `silence` is in seconds."""

    def __init__(self, recipe: Recipe, shape: Shape, workers: int, silence: float) -> None:
        self.silence = silence
        self.workers: list[Worker] = []
        self._owner, self._tickets, self._run = os.getpid(), 0, 0
        self._free = list(range(shape.slots))
        self._done: dict[int, Done] = {}
        job = file_with(job_of(recipe, shape))
        file = unnamed_file(shape.total_bytes)
        try:
            self.ring = Ring(shape, file)
            for number in range(workers):
                self.workers.append(Worker(number, job, file))
        except BaseException:
            self.close()
            raise
        finally:
            os.close(job)
            os.close(file)

    def run(self, epoch: int, numbers: range) -> Iterator[Made]:
        """These batches in order; each is valid until the next is asked for.

        A newer run ends an older one. WorkerError where a worker dies, fails or is silent.
        """
        self._run += 1
        self._forget()
        run, ordered = self._run, iter(numbers)
        first = self._tickets
        for count in range(len(numbers)):
            if run != self._run or not self.workers:
                raise ArgumentError("the loader was closed, or another epoch of it was begun")
            done = self._await(first + count, epoch, ordered)
            try:
                if done.broken is not None:
                    raise done.broken
                yield self.ring.images[done.slot], self.ring.labels[done.slot], done.skipped
            finally:
                self._free.append(done.slot)

    def _forget(self) -> None:
        """Batches that an older run asked for: their slots come back as they are done."""
        self._free += [done.slot for done in self._done.values()]
        self._done.clear()
        self._stale = self._tickets

    def _order(self, epoch: int, numbers: Iterator[int]) -> None:
        """Every free slot gets a batch, each from the worker that has the fewest to make."""
        while self._free and (number := next(numbers, None)) is not None:
            worker = min(self.workers, key=lambda w: w.orders)
            worker.send(Order(self._tickets, self._free.pop(), epoch, number))
            self._tickets += 1

    def _await(self, ticket: int, epoch: int, ordered: Iterator[int]) -> Done:
        """The batch of a ticket; while there are free slots, others are asked for."""
        until = time.monotonic() + self.silence
        self._order(epoch, ordered)
        while ticket not in self._done:
            connections = {worker.connection: worker for worker in self.workers}
            ready = wait(list(connections), max(0.0, until - time.monotonic()))
            if not ready:
                busy = ", ".join(str(worker) for worker in self.workers if worker.orders)
                raise WorkerError(f"no batch for {self.silence:g} s from {busy or 'any worker'}")
            for connection in ready:
                self._take(connections[connection].receive())  # type: ignore[index]
                until = time.monotonic() + self.silence
            self._order(epoch, ordered)
        return self._done.pop(ticket)

    def _take(self, done: Done) -> None:
        if done.ticket < self._stale:
            self._free.append(done.slot)
        else:
            self._done[done.ticket] = done

    @property
    def is_ours(self) -> bool:
        """Whether this process started the workers, and no parent that it was forked from."""
        return os.getpid() == self._owner

    def close(self) -> None:
        """End the workers; in a forked child, whose they are not, nothing happens."""
        if self.is_ours:
            while self.workers:
                self.workers.pop().close()
