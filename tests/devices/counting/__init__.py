"""A third kind of device: NumPy that counts what it runs; no product takes an activation in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from minidl.devices.cpu import HostMemory, bind, running
from minidl.devices.device import Call
from minidl.devices.known import Kind
from minidl.ir import Array, How, Op, Target, Tensor
from minidl.ops.target import host_target
from minidl.options import Options
from minidl.placed.graph import PlacedGraph


class CountingDevice(HostMemory):
    """Runs ops one by one, and counts them by phase."""

    name = "counting"

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()

    def running(self) -> AbstractContextManager[None]:
        return running()

    def bind(self, plan: PlacedGraph, memory: Any, arrays: Mapping[Tensor, Array]) -> list[Call]:
        return [partial(self._run, op, bind(op, arrays)) for op in plan.graph.ops]

    def _run(self, op: Op, call: Call) -> None:
        self.ran[op.phase] += 1
        call()


def counting_target(options: Options) -> Target:
    """As NumPy runs ops, but no product hands its parts on."""
    on_host = host_target(options)

    def how(op: Op) -> How:
        found = on_host(op)
        return replace(found, takes=replace(found.takes, finishes=False))

    return how


REFUSED = dict.fromkeys(("tf32", "bf16"), ("not counted", "use float32"))

COUNTING = Kind("counting", CountingDevice, counting_target, REFUSED)
