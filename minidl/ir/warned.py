"""Warnings that point at the line of whoever called minidl."""

from __future__ import annotations

import sys
import warnings

PACKAGE = __name__.partition(".")[0]


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """`warnings.warn`, at the first frame that is outside of minidl."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _own(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _own(module: str) -> bool:
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")
