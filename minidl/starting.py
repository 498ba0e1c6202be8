"""Ctrl-C while the command line is still being imported, and after all is done.

A KeyboardInterrupt in an import is a traceback, and some libraries make an ImportError of it: until
the command can say what it keeps, the handler itself ends the process.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

STATUS = 128 + signal.SIGINT


def begin() -> None:
    """Ctrl-C ends the process in one line from here on; one that is ignored stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def ready() -> None:
    """Ctrl-C is a KeyboardInterrupt again, for who knows what it costs."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def done() -> None:
    """Ctrl-C ends the process while Python ends it anyway."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _end):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end(*_: object) -> None:
    with suppress(OSError):  # standard error may be closed
        os.write(2, b"minidl: interrupted\n")
    os._exit(STATUS)
