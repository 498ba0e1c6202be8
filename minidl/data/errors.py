"""What goes wrong with data, as a user meets it."""

from __future__ import annotations

from minidl.ir import ArgumentError, MinidlError


class BrokenImageError(ArgumentError):
    """An image that cannot be decoded: the message names the file and says why."""


class WorkerError(MinidlError, RuntimeError):
    """A worker process that died or fell silent: the message names it and its exit code."""
