"""The stand-in for a GPU with faults in it, to try what measures on it.

MINIDL_FAULTS in the environment is JSON: for each kind the names that it strikes.
  raise    launches of these kernels are refused
  sticky   a launch of these kernels makes the context unusable: it and every later call are errors
  graphs   the device launches kernel by kernel (no names)
  engines  these engines raise
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from benchmarks.gpu import stand_in
from benchmarks.gpu.counting import CountingDevice
from benchmarks.gpu.engines import Engine, TableEngine
from tests.simulator import fake_cupy

FAULTS: dict[str, list[str]] = json.loads(os.environ.get("MINIDL_FAULTS", "{}"))


def __getattr__(name: str) -> Any:
    """What has no faults is the stand-in's own."""
    return getattr(stand_in, name)


def device(graphs: bool = True) -> CountingDevice:
    _install()
    return stand_in.device(graphs and "graphs" not in FAULTS)


def engines() -> list[Engine]:
    """A table without a time raises when it is asked for one."""
    return [
        TableEngine(engine.name, {}) if engine.name in FAULTS.get("engines", ()) else engine
        for engine in stand_in.engines()
    ]


def _install() -> None:
    cuda, names = fake_cupy.cuda, dict[int, str]()
    lost: list[bool] = []

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
        return any(names[function].startswith(f"{name}_") for name in FAULTS.get(kind, ()))

    start = cuda.driver.launchKernel

    def launch(function: int, *arguments: Any) -> None:
        if is_struck("raise", function):
            raise fake_cupy.CUDARuntimeError(701)  # too many resources
        if is_struck("sticky", function):
            lost.append(True)
        start(function, *arguments)

    cuda.function.Module = Module
    cuda.driver.launchKernel = unless_lost(launch)
    for name in ("memcpyAsync", "memsetAsync", "memGetInfo"):
        setattr(cuda.runtime, name, unless_lost(getattr(cuda.runtime, name)))
