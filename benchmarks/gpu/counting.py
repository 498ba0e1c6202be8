"""A CUDA device that counts what a step may do once only: launch, and allocate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minidl.devices.cuda import CudaDevice
from minidl.devices.device import Call
from minidl.devices.kernels import Unit
from minidl.ops.cuda import Launch


@dataclass
class Counts:
    """Since the device was made."""

    graphs: int = 0
    """Launches of whole graphs."""
    kernels: int = 0
    """Launches of single kernels, those under capture included."""
    allocations: int = 0


class CountingDevice(CudaDevice):
    def __init__(self, index: int = 0, graphs: bool = True) -> None:
        super().__init__(index, graphs)
        self.counts = Counts()

    def allocate(self, nbytes: int, alignment: int) -> Any:
        self.counts.allocations += 1
        return super().allocate(nbytes, alignment)

    def launch(self, unit: Unit, launch: Launch, parameters: bytes) -> Call:
        start = super().launch(unit, launch, parameters)

        def call() -> None:
            self.counts.kernels += 1
            start()

        return call

    def _captured(self, call: Call) -> Any:
        return _CountedGraph(super()._captured(call), self.counts)


class _CountedGraph:
    def __init__(self, graph: Any, counts: Counts) -> None:
        self.graph, self.counts = graph, counts

    def launch(self, stream: Any) -> None:
        self.counts.graphs += 1
        self.graph.launch(stream)
