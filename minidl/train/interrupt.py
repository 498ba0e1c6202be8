"""Signals between steps: the step under way ends first, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""Ctrl-C; what a scheduler of jobs sends before it kills; a terminal that was closed."""


class Terminated(SystemExit):
    """SIGTERM or SIGHUP ended a run; where nobody catches it, the process ends with `code`, 128 and
    the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class Interrupt:
    """Within it the first signal of NAMES waits for `check`; a second Ctrl-C acts at once.

    Signals reach the main thread alone; in another one this does nothing. A signal that is ignored
    (nohup), or that the program handles itself, stays so.
    """

    def __init__(self) -> None:
        self.asked = 0
        """The number of the signal that came; 0 before."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        self.asked = 0
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name, None) for name in NAMES):
                if number is not None and signal.getsignal(number) in DEFAULTS:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = self.asked or number

    def check(self) -> None:
        """KeyboardInterrupt or Terminated where a signal came."""
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        if self.asked:
            raise Terminated(self.asked)


DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
"""What a program has that did not choose."""
