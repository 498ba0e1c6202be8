"""A process that makes batches: told which by its parent, it writes them into the shared ring.

It is a fresh interpreter, so it has no threads, locks or GPU of the parent's, and it imports minidl
alone, not the user's script. Its import path is its parent's before it imports anything: what lies
in the current folder is nothing to it. It ends when the parent closes the connection or dies.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from minidl.data.errors import BrokenImageError, WorkerError
from minidl.data.recipe import Recipe, Skipped
from minidl.data.ring import Job, Ring, Shape, read_parts
from minidl.data.source import taken

INHERITED = 3
"""Descriptors that a worker gets: the socket, the pickled recipe, the ring."""

BOOT = (
    f"import sys; given = sys.argv[1:]; sys.path[:] = given[{INHERITED}:];"
    f"from minidl.data.worker import main; main(*map(int, given[:{INHERITED}]))"
)
"""`sys` is a part of the interpreter: no file is looked for before the path is the parent's."""


MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
"""What a worker tells glibc's malloc: an image's buffers come from memory that it keeps, not from
pages that are mapped, cleared and given back for each. 2^25 is the most that is heard."""


class Order(NamedTuple):
    """Make batch `number` of `epoch` in `slot`."""

    ticket: int
    slot: int
    epoch: int
    number: int


class Done(NamedTuple):
    """An order that was carried out, or could not be."""

    ticket: int
    slot: int
    skipped: list[Skipped]
    broken: BrokenImageError | None = None
    """An image, where broken ones are refused."""
    failed: str = ""
    """The traceback of anything else; the worker ends after it."""


class Worker:
    """The parent's side of one worker process."""

    def __init__(self, number: int, job: int, ring: int) -> None:
        ours, theirs = socket.socketpair()
        inherited = (theirs.fileno(), job, ring)
        command = [sys.executable, *interpreter_flags(), "-c", BOOT]
        command += [*map(str, inherited), *import_path()]
        self.number, self.orders = number, 0
        with theirs:
            # A session of its own: Ctrl-C on the terminal is for the parent, which ends workers.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env=MALLOC | os.environ,
                pass_fds=inherited,
                start_new_session=True,
            )
        self.connection = Connection(ours.detach())

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.process.pid})"

    def send(self, order: Order) -> None:
        """Never waits: an order is small. WorkerError where the worker is gone."""
        self.orders += 1
        with contextlib.suppress(OSError):
            self.connection.send(order)
            return
        # It is gone, and what it said before says why.
        while True:
            self.receive()

    def receive(self) -> Done:
        """The next answer; WorkerError where the worker is gone or had an error."""
        try:
            done: Done = self.connection.recv()
        except (EOFError, OSError):
            raise self.gone() from None
        self.orders -= 1
        if done.failed:
            raise WorkerError(f"{self} failed, exit code 1:\n{done.failed}")
        return done

    def gone(self) -> WorkerError:
        """The error that says how the process ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        code = self.process.returncode
        if code is None:
            return WorkerError(f"{self} closed its connection and did not end")
        how = f", killed by {signal.Signals(-code).name}" if code < 0 else ""
        return WorkerError(f"{self} died with exit code {code}{how}; its output says more")

    def close(self) -> None:
        """End the process now: it holds nothing that has to be saved."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


def interpreter_flags() -> list[str]:
    """`-I`: neither the current folder nor PYTHONPATH comes in front of the path while the
    interpreter starts. With it the child reads no PYTHON* variable, so what matters is said."""
    flags = ["-I", "-X", f"utf8={sys.flags.utf8_mode}"]
    return [*flags, "-B"] if sys.dont_write_bytecode else flags


def import_path() -> list[str]:
    """The parent's, and last where minidl was found: by an import hook it need not be on it."""
    paths = [os.path.abspath(path) for path in sys.path if isinstance(path, str)]
    return [*paths, str(Path(__file__).parents[2])]


def main(connection: int, job: int, file: int) -> None:
    """Of the worker process: carry out orders until the connection closes.

    All three are inherited descriptors: the socket, the pickled recipe, the ring.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(connection) as parent, contextlib.suppress(EOFError, ConnectionError):
        try:
            pickled, *arrays = read_parts(job)
            recipe, shape = pickle.loads(pickled, buffers=arrays)
            ring = Ring(shape, file)
            os.close(job)
            os.close(file)
        except Exception:
            parent.send(Done(-1, -1, [], failed=traceback.format_exc()))
            sys.exit(1)
        while True:
            done = carry_out(recipe, ring, parent.recv())
            parent.send(done)
            if done.failed:
                sys.exit(1)


def carry_out(recipe: Recipe, ring: Ring, order: Order) -> Done:
    """Make one batch; whatever goes wrong is told to the parent."""
    done = Done(order.ticket, order.slot, [])
    images, labels = ring.images[order.slot], ring.labels[order.slot]
    try:
        return done._replace(skipped=recipe.fill(order.epoch, order.number, images, labels))
    except BrokenImageError as error:
        return done._replace(broken=error)
    except Exception:
        return done._replace(failed=traceback.format_exc())


def job_of(recipe: Recipe, shape: Shape) -> Job:
    """What every worker reads first; WorkerError where the source cannot be sent."""
    arrays: list[pickle.PickleBuffer] = []
    try:
        sent = replace(recipe, source=taken(recipe.source))
        pickled = pickle.dumps((sent, shape), protocol=5, buffer_callback=arrays.append)
        return [memoryview(pickled), *(array.raw() for array in arrays)]
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise WorkerError(
            f"the source cannot be sent to workers: {error}", "use workers=0"
        ) from error
