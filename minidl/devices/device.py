"""Device: what the runtime needs of a place where steps run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from minidl.devices.given import Given
from minidl.ir import Array, Tensor, format_size
from minidl.ir.card import Card
from minidl.placed.graph import PlacedGraph

Call = Callable[[], None]


class Device(Protocol):
    """Memory, and calls that run ops in it; it decides nothing.

    `memory` is what `allocate` returned. Where `on_host`, it is a NumPy array of bytes, and `read`
    gives views of it; elsewhere `read` gives copies.
    """

    name: str
    """What plans are lowered for: see `minidl.devices.known`."""
    on_host: bool

    @property
    def card(self) -> Card | None:
        """What plans for a GPU are made for; None: the default card."""

    def available(self) -> int | None:
        """Bytes that can be allocated now, as far as is known."""

    def allocate(self, nbytes: int, alignment: int) -> Any:
        """`nbytes` uninitialised bytes that start at a multiple of `alignment`."""

    def read(self, memory: Any, offset: int, nbytes: int) -> Array:
        """Bytes [offset, offset + nbytes), once all calls made so far are done."""

    def later(self, memory: Any, offset: int, nbytes: int) -> Callable[[], Array]:
        """Start to copy those bytes behind all calls made so far; the result waits for them."""

    def given(self, value: Any) -> Given:
        """An input as it lies, nothing copied; ArgumentError where no step can read it."""

    def write(self, memory: Any, offset: int, data: Array) -> None:
        """Put `data`, contiguous, at byte `offset`."""

    def write_ahead(self, memory: Any, offset: int, data: Array) -> None:
        """Put `data` at byte `offset` while calls made before still run; they do not touch it."""

    def move(self, memory: Any, to: int, offset: int, nbytes: int) -> None:
        """Copy bytes inside of `memory`, behind all calls and `write_ahead`s made so far; what is
        written ahead later waits for it."""

    def after_copies(self) -> None:
        """Calls from now on wait for every `write_ahead` made so far."""

    def fill(self, memory: Any, offset: int, nbytes: int, value: int) -> None:
        """Set each of `nbytes` bytes to `value`."""

    def bind(self, plan: PlacedGraph, memory: Any, arrays: Mapping[Tensor, Array]) -> list[Call]:
        """One call for each op, with constant addresses; `arrays` are views, where `on_host`."""

    def whole(self, calls: list[Call]) -> Call:
        """One call that runs all of them in order: on CUDA a graph."""

    def running(self) -> AbstractContextManager[None]:
        """The context in which calls are made."""

    def synchronize(self) -> None:
        """Wait until all calls are done."""


def in_order(calls: list[Call]) -> Call:
    """One call that makes all of them, one after the other."""
    if len(calls) == 1:
        return calls[0]

    def run() -> None:
        for call in calls:
            call()

    return run


def free_memory(device: Device, free: int) -> str:
    """What an error says of the bytes that can be allocated."""
    if device.on_host:
        return f"this machine has {format_size(free)} free"
    return f"the device has {format_size(free)} free, another process may hold the rest"


def bytes_of(array: Array) -> Array:
    """The bytes of a contiguous array: a view."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
