"""What is installed here, GPUs too, and what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from collections.abc import Iterator

from minidl.console import show
from minidl.devices import nvrtc
from minidl.devices.architecture import OLDEST
from minidl.devices.cubins import cache_folder
from minidl.devices.cuda import installed
from minidl.ir import MinidlError

EXAMPLES = (("minidl about", "what a report of a fault needs"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(options: argparse.Namespace) -> int:
    for name, value in rows():
        show(f"{name:8} {value}")
    return 0


def rows() -> Iterator[tuple[str, str]]:
    """Name and value of each line; what is missing says how to get it."""
    yield "minidl", _package("minidl")
    yield "Python", f"{platform.python_version()}, {platform.platform()}"
    yield "NumPy", _package("numpy")
    yield "NVRTC", _nvrtc()
    yield from _cuda()
    yield "kernels", str(cache_folder())


def _nvrtc() -> str:
    try:
        found, known = nvrtc.version(), nvrtc.supported()
    except MinidlError as error:
        return f"none to be used: {error}"
    range_ = f"sm_{min(n for n in known if n >= OLDEST)} to sm_{max(known)}"
    old = f" (older than {nvrtc.dotted(nvrtc.OLDEST_TRIED)}, the oldest tried)"
    return f"{nvrtc.dotted(found)}, {range_}{old if found < nvrtc.OLDEST_TRIED else ''}"


def _cuda() -> Iterator[tuple[str, str]]:
    try:
        yield from installed()
    except MinidlError as error:
        yield "GPU", f"none to be used: {error}"


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"
