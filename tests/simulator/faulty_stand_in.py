"""The stand-in for a GPU with faults in it, to try what measures on it.

MINIDL_FAULTS in the environment is JSON: for each kind the names that it strikes. Of kernels, by
the name or by the whole entry:
  raise    launches are refused
  skip     launches do nothing, so that numbers are wrong
  hang     a launch does not come back
  die      a launch ends the process
  kill     the system does, as where memory has run out
  leak     once one was launched, a MiB less is free whenever the device is asked
  sticky   a launch makes the context unusable: it and every later call are errors
Of engines, by name and method, "eager step":
  engine raises, engine hangs, engine dies
  graphs   the device launches kernel by kernel (no names)
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from benchmarks.gpu import stand_in
from benchmarks.gpu.counting import CountingDevice
from tests.simulator import fake_cupy

FAULTS: dict[str, list[str]] = json.loads(os.environ.get("MINIDL_FAULTS", "{}"))
FOREVER = 3600


def __getattr__(name: str) -> Any:
    """What has no faults is the stand-in's own."""
    return getattr(stand_in, name)


def device(graphs: bool = True) -> CountingDevice:
    if FAULTS:
        _install()
    return stand_in.device(graphs and "graphs" not in FAULTS)


def engines() -> list[Any]:
    return [FaultyEngine(engine) for engine in stand_in.engines()]


class FaultyEngine:
    """An engine some of whose methods do not end well."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def __getattr__(self, name: str) -> Any:
        what, kinds = f"{self.engine.name} {name}", {k: v for k, v in FAULTS.items() if "eng" in k}
        if what in kinds.get("engine raises", ()):
            raise RuntimeError(f"{what} is refused")
        if what in kinds.get("engine hangs", ()):
            time.sleep(FOREVER)
        if what in kinds.get("engine dies", ()):
            os.kill(os.getpid(), signal.SIGSEGV)
        return getattr(self.engine, name)


def _install() -> None:
    cuda, names = fake_cupy.cuda, dict[int, str]()
    lost: list[bool] = []
    leaks, leaked = list[bool](), list[int]()

    class Module(cuda.function.Module):  # type: ignore[misc, name-defined]
        def get_function(self, entry: str) -> Any:
            function = super().get_function(entry)
            names[function.ptr] = entry
            return function

    def unless_lost(call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*arguments: Any) -> Any:
            if lost:
                raise fake_cupy.CUDARuntimeError(700)  # an illegal address
            return call(*arguments)

        return checked

    def is_struck(kind: str, function: int) -> bool:
        entry = names[function]
        return any(entry == name or entry.startswith(f"{name}_") for name in FAULTS.get(kind, ()))

    start = cuda.driver.launchKernel

    def launch(function: int, *arguments: Any) -> None:
        if is_struck("raise", function):
            raise fake_cupy.CUDARuntimeError(701)  # too many resources
        if is_struck("hang", function):
            time.sleep(FOREVER)
        if is_struck("die", function):
            os.kill(os.getpid(), signal.SIGSEGV)
        if is_struck("kill", function):
            os.kill(os.getpid(), signal.SIGKILL)
        if is_struck("sticky", function):
            lost.append(True)
        if is_struck("leak", function):
            leaks.append(True)
        if not is_struck("skip", function):
            start(function, *arguments)

    says = cuda.runtime.memGetInfo

    def memory_info() -> tuple[int, int]:
        leaked.extend([2**20] if leaks else [])
        free, total = says()
        return free - sum(leaked), total

    cuda.function.Module = Module
    cuda.driver.launchKernel = unless_lost(launch)
    cuda.runtime.memGetInfo = memory_info
    for name in ("memcpyAsync", "memsetAsync", "memGetInfo"):
        setattr(cuda.runtime, name, unless_lost(getattr(cuda.runtime, name)))
