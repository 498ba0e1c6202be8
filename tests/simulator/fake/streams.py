"""Streams, events and graphs: what is started runs later, at the latest when it is waited for.

Each stream has its own queue, and queues run in any order that events leave open: a copy that is
read too early, or written over too early, is a wrong number in some order.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulator.build import SimulatorError
from tests.simulator.fake.errors import (
    CAPTURE_INVALIDATED,
    CAPTURE_ISOLATION,
    CAPTURE_UNSUPPORTED,
    CAPTURED_EVENT,
    INVALID_HANDLE,
    LAUNCH_FAILED,
    MISALIGNED,
    CUDARuntimeError,
    Failure,
)
from tests.simulator.fake.machine import MACHINE, Card

CURRENT: list[Stream] = []
"""Streams whose context is entered."""
WAITED: list[Any] = []
"""What was waited for: consumer and producer of a capsule, a stream of others, or the device."""
GRAPHS: list[int] = []
"""How often each graph was launched."""
HANDLES = itertools.count(0x7F0000001000, 16)


class Context:
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Mark:
    """One recording of an event."""

    def __init__(self, stream: Stream, captured: bool) -> None:
        self.stream, self.captured, self.done = stream, captured, False

    def reach(self) -> None:
        self.done = True


@dataclass(frozen=True)
class Entry:
    """Work of a stream, once `after` was reached, on these pieces of pinned memory."""

    run: Callable[[], None]
    after: Mark | None = None
    pinned: tuple[int, ...] = ()


class Event:
    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        self.card = MACHINE.enter()
        self.mark: Mark | None = None

    @property
    def done(self) -> bool:
        MACHINE.enter(may_capture=False, card=self.card)
        self._require_not_captured()
        MACHINE.progress()
        return self.mark is None or self.mark.done

    def synchronize(self) -> None:
        MACHINE.enter(may_capture=False, card=self.card)
        self._require_not_captured()
        while self.mark is not None and not self.mark.done:
            self.mark.stream.advance()
            MACHINE.enter(card=self.card)

    def _require_not_captured(self) -> None:
        if self.mark is not None and self.mark.captured:
            raise CUDARuntimeError(CAPTURED_EVENT)


class Graph:
    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.index = len(GRAPHS)
        GRAPHS.append(0)

    def launch(self, stream: Stream | None = None) -> None:
        MACHINE.enter(may_capture=False)
        GRAPHS[self.index] += 1
        where = stream or CURRENT[-1]
        for entry in self.entries:
            where.put(entry)
        MACHINE.progress()


class Stream:
    """Only streams that do not wait for the default one: nothing here is that."""

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: int | None = None,
    ) -> None:
        assert (null, non_blocking, ptds) == (False, True, False), "it waits for the default one"
        self.card = MACHINE.enter(may_capture=False)
        self.ptr = next(HANDLES)
        self.queue: deque[Entry] = deque()
        self.captured: list[Entry] | None = None
        self.invalid = False
        MACHINE.streams[self.ptr] = self

    def __enter__(self) -> Stream:
        if MACHINE.card() is not self.card:
            raise RuntimeError(
                "The device that the stream is created on does not match with the current device"
            )
        CURRENT.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        CURRENT.pop()

    # -- what is under way -------------------------------------------------------------------------

    def put(self, entry: Entry) -> None:
        """Behind all that was put before; into the graph where one is captured."""
        if self.captured is not None:
            self.captured.append(entry)
            return
        MACHINE.under_way.update(entry.pinned)
        self.queue.append(entry)

    def advance(self) -> None:
        """Run what is first. What goes wrong ends the context, and is said by a later call."""
        entry = self.queue.popleft()
        while entry.after is not None and not entry.after.done and entry.after.stream.queue:
            entry.after.stream.advance()
        MACHINE.under_way.subtract(entry.pinned)
        if self.card.lost:
            return
        try:
            entry.run()
        except SimulatorError as error:
            aligned = "not aligned" not in str(error)
            self.card.lost, self.card.cause = LAUNCH_FAILED if aligned else MISALIGNED, error

    def synchronize(self) -> None:
        MACHINE.enter(may_capture=False, card=self.card)
        while self.queue:
            self.advance()
        MACHINE.enter(card=self.card)

    @property
    def done(self) -> bool:
        MACHINE.enter(may_capture=False, card=self.card)
        MACHINE.progress()
        return not self.queue

    # -- events ------------------------------------------------------------------------------------

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        if event.card is not self.card:
            raise CUDARuntimeError(INVALID_HANDLE)
        event.mark = Mark(self, self.captured is not None)
        self.put(Entry(event.mark.reach))
        MACHINE.progress()
        return event

    def wait_event(self, event: Event) -> None:
        MACHINE.enter(card=self.card)
        mark = event.mark
        if mark is None:
            return
        assert mark.stream is not self, "a stream need not wait for itself"
        if mark.captured or self.captured is not None:
            if MACHINE.capturing is not None:
                MACHINE.capturing.invalid = True
            raise CUDARuntimeError(CAPTURED_EVENT if mark.captured else CAPTURE_ISOLATION)
        self.put(Entry(lambda: None, after=mark))
        MACHINE.progress()

    # -- capture -----------------------------------------------------------------------------------

    def begin_capture(self, mode: int | None = None) -> None:
        MACHINE.enter(may_capture=False, card=self.card)
        self.captured, self.invalid, MACHINE.capturing = [], False, self

    def end_capture(self) -> Graph:
        entries, self.captured, MACHINE.capturing = self.captured, None, None
        if entries is None:
            raise CUDARuntimeError(INVALID_HANDLE)
        if self.invalid:
            raise CUDARuntimeError(CAPTURE_INVALIDATED)
        MACHINE.enter(card=self.card)
        return Graph(entries)


def stream_of(ptr: int, failure: Failure, card: Card | None = None) -> Stream:
    """The stream of that address; of the card, where a call works on one only."""
    stream = MACHINE.streams.get(ptr)
    if not isinstance(stream, Stream) or (card is not None and stream.card is not card):
        raise failure(INVALID_HANDLE)
    return stream


def require_no_capture(stream: Stream) -> None:
    """For what would make a graph depend on memory of the host, or wait for it."""
    if stream.captured is not None:
        stream.invalid = True
        raise CUDARuntimeError(CAPTURE_UNSUPPORTED)


def stream_synchronize(stream: int) -> None:
    if stream in MACHINE.streams:
        stream_of(stream, CUDARuntimeError).synchronize()
        return
    MACHINE.enter(may_capture=False)  # another library's
    WAITED.append(stream)


def device_synchronize() -> None:
    card = MACHINE.enter(may_capture=False)
    WAITED.append("device")
    for stream in list(MACHINE.streams.values()):
        while stream.card is card and stream.queue:
            stream.advance()
    MACHINE.enter()
