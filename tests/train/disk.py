"""A disk that fails at a call of one's choice: the system's calls below a folder are counted."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class KilledError(BaseException):
    """The process ended here: nothing that it does later reaches the disk."""


class Disk:
    """Calls below `folder` that change it, numbered from 1: open, write, fsync, replace, unlink.

    The call `at` meets the fault of a name:

    full   it and all that need room from then on fail with ENOSPC
    error  it fails with EIO, alone
    gone   it and all from then on fail with EIO
    short  it is given back half done, if it is a write; what follows is right
    kill   it is half done, and the process ends
    """

    FAULTS = ("full", "error", "gone", "short", "kill")

    def __init__(self, folder: Path, fault: str = "", at: int = 0) -> None:
        self.folder, self.fault, self.at = str(folder), fault, at
        self.calls = 0
        self.handles: set[int] = set()
        self.right: dict[str, Any] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "write", "fsync", "replace", "unlink", "close"):
                self.right[name] = getattr(os, name)
                patch.setattr(os, name, getattr(self, name))
            yield

    def inside(self, path: Any) -> bool:
        return isinstance(path, (str, Path)) and str(path).startswith(self.folder)

    def open(self, path: Any, flags: int, *more: Any, **how: Any) -> int:
        def act() -> int:
            return int(self.right["open"](path, flags, *more, **how))

        if not self.inside(path):
            return act()
        handle = self.call(act) if flags & CHANGES else act()
        self.handles.add(handle)
        return handle

    def close(self, handle: int) -> None:
        self.handles.discard(handle)
        self.right["close"](handle)

    def write(self, handle: int, data: Any) -> int:
        def act(share: int = 1) -> int:
            return int(self.right["write"](handle, data[: -(-len(data) // share)]))

        return self.call(act, lambda: act(2)) if handle in self.handles else act()

    def fsync(self, handle: int) -> None:
        """Counted and not done: the machine does not go away."""
        if handle in self.handles:
            self.call(lambda: None)

    def replace(self, source: Any, target: Any) -> None:
        def act() -> None:
            self.right["replace"](source, target)

        self.call(act, needs_room=False) if self.inside(target) else act()

    def unlink(self, path: Any, **how: Any) -> None:
        def act() -> None:
            self.right["unlink"](path, **how)

        self.call(act, needs_room=False) if self.inside(path) else act()

    def call(
        self, act: Callable[[], Any], half: Callable[[], Any] | None = None, needs_room: bool = True
    ) -> Any:
        self.calls += 1
        now, late = self.at == self.calls, 0 < self.at < self.calls
        if self.fault == "kill" and (now or late):
            if now and half is not None:
                half()
            raise KilledError
        if self.fault == "full" and (now or late) and needs_room:
            if now and half is not None:
                half()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if (self.fault == "error" and now) or (self.fault == "gone" and (now or late)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.fault == "short" and now and half is not None:
            return half()
        return act()
